"""Rivals of the variational autoencoder's training: wake-sleep, and Monte Carlo EM.

Both train the same generative model `p(z) p(x|z)` as `AutoencoderStep` does; they differ in where the
codes come from (Kingma & Welling 2014, section 5). The model is any autoencoder with `encode`, `prior`
and `nll(z, x) -> (B,)`, minus the logarithm of its likelihood, of which `trompe.models.Autoencoder` is one.
"""

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from trompe.core import mcmc, random
from trompe.core.errors import UserError
from trompe.training.steps import ModelStep

__all__ = ["MCEMStep", "WakeSleepStep"]


class WakeSleepStep(ModelStep):
    r"""The wake-sleep algorithm (Hinton, Dayan, Frey & Neal 1995), one step of both phases.

    .. math::
        \min_\theta \; -\log p_\theta(x \mid z), \; z \sim q_\phi(z \mid x), \qquad
        \min_\phi \; -\log q_\phi(\tilde z \mid \tilde x), \; \tilde z \sim p(z), \;
        \tilde x \sim p_\theta(x \mid \tilde z)

    Awake, the decoder learns from the codes that the encoder gives to data; asleep, the encoder learns from
    the codes behind the decoder's dreams. The two are no gradients of one objective, which is where it
    differs from the VAE: the sleep phase minimises the KL divergence the other way round, and on dreams.

    Args:
        model: a stochastic autoencoder.
        draw: `x ~ p(x|z)` given the decoded `(B, *)`; by default what the model's likelihood says,
            Bernoulli or Gaussian.

    Raises:
        UserError: a deterministic model; a likelihood that cannot be drawn from without `draw`.

    References:
        Hinton et al. 1995, "The wake-sleep algorithm for unsupervised neural networks"; Kingma & Welling
        2014, section 5.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float = 4e-3,
        *,
        draw: Callable[[Tensor], Tensor] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, lr, **options)
        if not getattr(getattr(model, "config", None), "stochastic", True):
            raise UserError("wake-sleep needs an encoder that gives a density: stochastic=True")
        self.draw = _drawing(model) if draw is None else draw

    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """One update on inputs `(B, *)`; draws, in this order, z awake, z asleep, x asleep."""
        x, model = batch[0], cast(Any, self.model)
        with torch.no_grad():
            code = random.sample(model.encode(x))
            dreamed = random.normal(tuple(code.shape), code)
            dream = self.draw(model.decode(dreamed))
        wake = model.nll(code, x).mean()
        sleep = -model.encode(dream).log_prob(dreamed).mean()
        self.update(wake + sleep)
        terms = {"loss": wake + sleep, "wake": wake, "sleep": sleep}
        return {name: term.detach() for name, term in terms.items()}


def _drawing(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """How x is drawn from what the model decodes."""
    config = cast(Any, model).config
    if config.likelihood == "bernoulli":
        return lambda mean: (random.uniform(tuple(mean.shape), mean) < mean).to(mean.dtype)
    if config.likelihood == "gaussian":
        deviation = math.sqrt(config.variance)
        return lambda mean: mean + deviation * random.normal(tuple(mean.shape), mean)
    raise UserError(f"give WakeSleepStep a `draw` for the likelihood {config.likelihood!r}")


class MCEMStep(ModelStep):
    r"""Monte Carlo EM: codes from the posterior by Hamiltonian Monte Carlo, then updates of the weights.

    .. math:: z_i \sim p_\theta(z \mid x_i) \propto p(z) \, p_\theta(x_i \mid z), \qquad
        \min_\theta \; -\sum_i \log p_\theta(x_i, z_i)

    There is no encoder. Every example keeps a chain, which moves by one trajectory whenever the example is
    met and begins at a draw from the prior; the weights then follow `updates` gradients on its place. All
    chains share one step size, which is tuned while training goes on. So a chain falls behind the weights
    the more seldom it is met: on large sets the codes are stale. The paper says neither where its chains
    begin nor whether they last. They live in the process that moves them: train in one.

    Args:
        model: an autoencoder; its encoder gets no gradient.
        examples: how many there are in the set; a batch's last tensor numbers its own.
        latent: coordinates of a code.
        steps: leapfrog steps of a trajectory.
        updates: of the weights after each.
        acceptance: share of accepted trajectories to tune for.
        step_size: where the tuning begins, in prior deviations.

    Raises:
        UserError: a batch without the index of its examples.

    References:
        Kingma & Welling 2014, section 5 and appendix E.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float = 4e-3,
        *,
        examples: int,
        latent: int,
        steps: int = 10,
        updates: int = 5,
        acceptance: float = 0.9,
        step_size: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(model, lr, **options)
        self.steps, self.updates, self.acceptance = steps, updates, acceptance
        like = self._parameters[0].detach()
        self.log_size = like.new_tensor(math.log(step_size))
        self.codes = like.new_full((examples, latent), math.nan)

    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """One trajectory of the chains of a batch `(x, labels, ..., index)`, and `updates` of the weights."""
        x, index = batch[0], batch[-1]
        if len(batch) < 3 or index.dtype != torch.int64 or index.shape != x.shape[:1]:
            raise UserError(
                "MCEMStep keeps a chain for each example: the batch must end in an index, after inputs and "
                "labels"
            )
        model = cast(Any, self.model)
        code, accepted = self._moved(x, index)
        for _ in range(self.updates):
            loss = model.nll(code, x).mean()
            self.update(loss)
        return {"loss": loss.detach(), "acceptance": accepted, "step_size": self.log_size.exp()}

    def _moved(self, x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """The codes `(B, latent)` after one transition, and the mean acceptance."""
        model = cast(Any, self.model)
        self.codes, self.log_size = self.codes.to(x.device), self.log_size.to(x.device)
        code = self.codes[index]
        code = torch.where(code.isnan(), random.normal(tuple(code.shape), code), code)

        def density(z: Tensor) -> Tensor:
            return model.prior.log_prob(z) - model.nll(z, x)  # type: ignore[no-any-return]

        size = self.log_size.exp().expand(len(x))
        state, probability = mcmc.transition(density, mcmc.start(density, code), size, self.steps)
        self.log_size = self.log_size + (probability.mean() - self.acceptance)
        self.codes[index] = state.z
        return state.z, probability.mean()

    def state_dict(self) -> dict[str, Any]:
        """The model, its optimiser, and the chains."""
        return super().state_dict() | {"codes": self.codes, "log_size": self.log_size}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        super().load_state_dict(state)
        self.codes, self.log_size = state["codes"].clone(), state["log_size"].clone()
