"""What a named layer of a model says about a batch."""

import difflib
from typing import Any

from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.core.execution import is_lowered

__all__ = ["activations"]


class _Reached(Exception):
    """Ends a forward pass at the layer: nothing behind it is computed."""


def activations(model: nn.Module, name: str, x: Tensor) -> Tensor:
    """The output `(B, F)` of the layer `model.get_submodule(name)` for a batch, flattened.

    An autoencoder is encoded, and decoded where the layer is not one of its encoder's; any other model is
    called. Nothing behind the layer runs; of a layer that runs several times, the first pass counts. It can
    be differentiated, and works on a search's working copy.

    Raises:
        UserError: no layer of that name, one that does not run, one that gives no tensor with a row for each
            example.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> activations(model, "1", Tensor([[0.0, 1.0], [1.0, 0.0]])).shape
    torch.Size([2, 3])
    """
    inside: Any = model.model if is_lowered(model) else model
    layers = dict(inside.named_modules())
    if not name or name not in layers:
        raise UserError(f"{type(inside).__name__} has no layer {name!r}; {_known(name, layers)}")
    seen: list[Any] = []

    def arrive(module: nn.Module, given: Any, output: Any) -> None:
        seen.append(output)
        raise _Reached

    handle = layers[name].register_forward_hook(arrive)
    try:
        _run(model, x)
    except _Reached:
        pass
    finally:
        handle.remove()
    if not seen:
        raise UserError(f"layer {name!r} does not run when {type(inside).__name__} sees an input")
    return _rows(seen[0], name, x)


def _known(name: str, layers: dict[str, nn.Module]) -> str:
    """The nearest names first, then all of them, as far as a sentence can hold them."""
    names = [each for each in layers if each]
    near = difflib.get_close_matches(name, names, n=3)
    shown = [*near, *(each for each in names if each not in near)]
    more = f" and {len(shown) - 40} more" if len(shown) > 40 else ""
    return f"its layers are {', '.join(shown[:40])}{more}" if names else "it has no layers"


def _run(model: Any, x: Tensor) -> None:
    if hasattr(model, "encode") and hasattr(model, "decode"):
        model.decode(model.encode(x).mean)
    else:
        model(x)


def _rows(output: Any, name: str, x: Tensor) -> Tensor:
    first = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(first, Tensor) or first.ndim == 0 or len(first) != len(x):
        shape = tuple(first.shape) if isinstance(first, Tensor) else type(first).__name__
        raise UserError(
            f"layer {name!r} gives {shape}, not a tensor with a row for each of {len(x)} examples"
        )
    return first.flatten(1).to(x.dtype)
