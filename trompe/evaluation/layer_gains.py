"""Which layer of an encoder lets a perturbation through: its gain there, beside that of noise."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.execution import spend
from trompe.core.geometry import Ball, norm, per_example
from trompe.evaluation.codes import BATCH, batches, check_evaluated, reader

__all__ = ["CODE", "Gain", "layer_gains"]

CODE = "code"
"""What `layer_gains` calls the mean code, beside the layers' own names."""


class Gain(NamedTuple):
    """How much a layer stretches a perturbation, and a random one of the same length, `(B,)` each.

    Args:
        perturbation: `||h(x') - h(x)||_2 / ||x' - x||_2`.
        noise: the same for random directions, the mean over the draws.
    """

    perturbation: Tensor
    noise: Tensor

    @property
    def relative(self) -> Tensor:
        """How many times as far as noise the perturbation gets, `(B,)`: 1 where it is nothing special."""
        return self.perturbation / self.noise


@torch.no_grad()
def layer_gains(
    model: nn.Module,
    x: Tensor,
    moved: Tensor,
    *,
    layers: Sequence[str] | None = None,
    draws: int = 4,
    seeds: Tensor | None = None,
) -> dict[str, Gain]:
    r"""What the encoder's layers make of a perturbation, each seen from the input, in the order they run.

    .. math:: \frac{\|h_l(x') - h_l(x)\|_2}{\|x' - x\|_2}
        \quad\text{beside}\quad
        \frac{\|h_l(x + \|x' - x\|_2 u) - h_l(x)\|_2}{\|x' - x\|_2}, \quad u \text{ uniform on the sphere}

    with `h_l` the output of layer l. The quotient of the two, `Gain.relative`, says where on the way to the
    code an attack parts from noise, whatever the scale of the layer: what Hlihor et al. 2020 leave open
    (section 5, "we plan to investigate"). The noise keeps its length; it may leave the domain.

    Args:
        model: an autoencoder in eval mode; its layers are read by hooks, which are taken off again.
        x, moved: inputs `(B, *)`, clean and perturbed. Where they are equal the gains are NaN.
        layers: names of modules, as in `model.named_modules()`; by default all that run in `encode` and have
            no modules within. Of one that runs several times, the first output counts. `"code"`, the mean, is
            always the last.
        draws: of the noise.
        seeds: `(B,)`, of the noise, and of an encoder that draws: it does so alike for all inputs compared.

    Raises:
        UserError: inputs of different shapes, a model in train mode or no autoencoder, a layer that there is
            not, or that gives no tensor with a row for each example.

    >>> from trompe.models import AE
    >>> model, x = AE((1, 8, 8), latent=3, hidden=(4,)).eval(), torch.zeros(5, 1, 8, 8)
    >>> gains = layer_gains(model, x, x + 0.1)
    >>> list(gains), gains["code"].relative.shape
    (['encoder.0', 'encoder.1', 'encoder.2', 'mean', 'code'], torch.Size([5]))
    """
    check_evaluated(model)
    if x.shape != moved.shape:
        raise UserError(f"inputs go in pairs, got {tuple(x.shape)} and {tuple(moved.shape)}")
    if draws < 1:
        raise UserError("draws must be at least 1")
    modules = _modules(model, layers)
    spend(forwards=len(x) * (2 + draws))
    parts = [
        _gains(model, modules, part, to, draws, keys)
        for (part, keys), to in zip(batches(x, seeds), moved.split(BATCH), strict=True)
    ]
    missing = [name for name in layers or () if name not in parts[0]]
    if missing:
        raise UserError(
            f"layer {missing[0]!r} gives no tensor with a row for each example when "
            f"{type(model).__name__} encodes"
        )
    return {
        name: Gain(*(torch.cat(column) for column in zip(*(p[name] for p in parts), strict=True)))
        for name in parts[0]
    }


def _modules(model: nn.Module, layers: Sequence[str] | None) -> dict[str, nn.Module]:
    """The modules asked for; by default the leaves."""
    known = {name: module for name, module in model.named_modules() if name}
    if layers is None:
        return {name: module for name, module in known.items() if not list(module.children())}
    for name in layers:
        if name not in known:
            raise UserError(
                f"{type(model).__name__} has no layer {name!r}; it has {', '.join(known) or 'none'}"
            )
    return {name: known[name] for name in layers}


def _gains(
    model: nn.Module,
    modules: dict[str, nn.Module],
    x: Tensor,
    moved: Tensor,
    draws: int,
    seeds: Tensor,
) -> dict[str, tuple[Tensor, Tensor]]:
    """The gains of a batch, of the perturbation and of noise."""
    clean, length = _outputs(model, modules, x, seeds), norm(moved - x, "L2")

    def gain(v: Tensor) -> dict[str, Tensor]:
        outputs = _outputs(model, modules, v, seeds)
        return {name: norm(outputs[name] - clean[name], "L2") / length for name in clean}

    noisy = []
    for draw in range(draws):
        with random.streams(seeds, draw):
            way = Ball(1.0, "L2").steepest(random.normal(tuple(x.shape), x))
        noisy.append(gain(x + per_example(length, x) * way))
    return {
        name: (value, torch.stack([each[name] for each in noisy]).mean(0))
        for name, value in gain(moved).items()
    }


def _outputs(
    model: nn.Module, modules: dict[str, nn.Module], x: Tensor, seeds: Tensor
) -> dict[str, Tensor]:
    """What each module gives while the model encodes, `(B, F)`, in the order they run, and the code."""
    seen: dict[str, Tensor] = {}

    def keeper(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(module: nn.Module, given: Any, output: Any) -> None:
            rows = isinstance(output, Tensor) and output.ndim > 0 and len(output) == len(x)
            if name not in seen and rows and output.is_floating_point():
                seen[name] = output.flatten(1).clone()  # the next layer may write over it

        return keep

    handles = [module.register_forward_hook(keeper(name)) for name, module in modules.items()]
    try:
        code = reader(model, seeds)(x)
    finally:
        for handle in handles:
            handle.remove()
    return {**seen, CODE: code}
