"""The r-robustness margin of beta-VAEs against their posterior's deviation.

Camuto et al. 2021 bound the margin from below by a term that grows with the deviation of the posterior
and falls with the Jacobians of encoder and decoder, and conclude that a larger beta makes a VAE more
robust because it widens the posterior. Here VAEs of one architecture are trained with several betas from
several seeds, and the margin of the same test images is estimated: the norm of the smallest change found
that moves the reconstruction, drawn anew on both sides, further than r half of the time. Beside it stands
the margin of the same weights without their noise, from mean code to output, which tells what a wide
posterior does in training from what its noise does afterwards.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trompe.experiments.store import Store

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trompe.evaluation.records import Record
    from trompe.zoo import Recipe

__all__ = ["PUBLISHED", "SCALES", "Config", "render", "run"]


@dataclass(frozen=True)
class Config:
    """Which models, and how far an output may go.

    Args:
        data: what all are trained on and measured with.
        betas: weights of the KL.
        seeds: trainings of each, from seed 0 on.
        images: test images.
        r: distances between outputs, in L2.
        steps, rounds, draws: of the margin.
    """

    data: str = "mnist"
    betas: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0)
    seeds: int = 3
    images: int = 32
    r: tuple[float, ...] = (4.0, 6.0)
    steps: int = 25
    rounds: int = 8
    draws: int = 64


SCALES = {
    "smoke": Config("digits", (1.0, 4.0), 2, 8, (1.0,), 10, 6, 16),
    "cpu": Config(),
    "paper": Config(seeds=5, images=1000, r=(4.0, 5.0, 6.0, 8.0), steps=100, rounds=10, draws=256),
}

PUBLISHED: dict[str, Any] = {}
"""The paper's figures were not recovered; its claim is about the sign of a trend."""


def recipe(config: Config, beta: float, seed: int) -> "Recipe":
    """A VAE of Tabacof's architecture, shared with `adversarial_vae/leaderboard`."""
    from trompe.experiments.adversarial_vae._models import tabacof

    own = {} if beta == 1 else {"beta": beta}
    return tabacof("vae", config.data, seed, **own)


def run(config: Config, store: Store) -> Iterator["Record"]:
    """One cell per training, seed by seed, so that a run cut short has every beta."""
    store.total = config.seeds * len(config.betas)
    for seed in range(config.seeds):
        for beta in config.betas:
            yield from store.cell(
                f"beta {beta:g}, seed {seed}",
                lambda beta=beta, seed=seed: _measured(config, beta, seed),  # type: ignore[misc]
            )


def _measured(config: Config, beta: float, seed: int) -> Iterable["Record"]:
    """The mean margin at each r, and what Camuto's bound is made of."""
    from trompe import data, zoo
    from trompe.core import random
    from trompe.core.execution import metered
    from trompe.evaluation.margin import margin
    from trompe.evaluation.records import Record
    from trompe.experiments.autoencoder_robustness._measures import mean

    made = recipe(config, beta, seed)
    model: Any = zoo.get(made, progress=False)
    x, _ = data.load(config.data).take(config.images).tensors()
    seeds, parts = random.seeds(0, len(x)), _parts(model, x)
    how = {"steps": config.steps, "rounds": config.rounds, "draws": config.draws}
    for r in config.r:
        with metered() as cost:
            found = margin(model, x, r, seeds=seeds, **how)  # type: ignore[arg-type]
            still = margin(_without_noise(model), x, r, seeds=seeds, **how)  # type: ignore[arg-type]
        finite = found.value.isfinite()
        whole = mean(found.value.where(finite, found.low))
        quiet = mean(still.value.where(still.value.isfinite(), still.low))
        yield Record(
            f"margin at r = {r:g}",
            whole.value,
            whole.n,
            whole.low,
            whole.high,
            "normal 95% over images",
            subject=f"beta {beta:g}",
            attack=f"margin(r={r:g}, {', '.join(f'{k}={v}' for k, v in how.items())})",
            threat="White box: the attacker knows the weights and wants any change at all.",
            norm="L2",
            seed=seed,
            forwards=cost.forwards,
            backwards=cost.backwards,
            extra={
                **parts,
                "unbroken": int((~finite).sum()),
                "broken by its own noise": int((found.value == 0).sum()),
                "without noise": quiet.value,
                "bracket": float((found.high - found.low)[finite].mean()),
            },
            config={"beta": beta, "training": seed, "r": r, "weights": made.hash},
        )


def _without_noise(model: Any) -> "nn.Module":
    """The same weights as a deterministic autoencoder."""
    from torch import nn

    from trompe.core.protocols import PointMass

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.decode = model, model.decode

        def encode(self, x: "Tensor") -> PointMass:
            return PointMass(self.model.encode(x).mean)

    return Mean().eval()


def _parts(model: Any, x: "Tensor") -> dict[str, float]:
    """The posterior's deviation, and the largest singular values of encoder and decoder, as means."""
    import torch

    from trompe.core import random
    from trompe.core.geometry import Ball
    from trompe.core.jacobian import Linearised, stretched

    seeds, unit = random.seeds(0, len(x)), Ball(1.0, "L2")
    with torch.no_grad():
        code = model.encode(x)
        mse = (model.decode(code.mean) - x).square().mean()
    largest = {}
    for part, function, at in (
        ("encoder", lambda v: model.encode(v).mean, x),
        ("decoder", model.decode, code.mean),
    ):
        v = stretched(function, at, unit, steps=20, seeds=seeds)
        largest[part] = float(Linearised(function, at).forward(v).flatten(1).norm(dim=1).mean())
    return {
        "posterior deviation": float(code.stddev.mean()),
        "encoder's singular value": largest["encoder"],
        "decoder's singular value": largest["decoder"],
        "squared error": float(mse),
    }


def render(records: Iterable["Record"]) -> str:
    """A table over trainings, and whether the margin grows with beta and with the posterior's deviation."""
    from trompe.experiments.autoencoder_robustness._margin_page import rendered

    return rendered(list(records))
