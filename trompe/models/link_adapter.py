"""The user's own radio link, as one of ours: four names are asked of it."""

from typing import Any

import torch
from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.models.channel import MOST_BITS, Fading, Link

__all__ = ["LinkAdapter", "adapt_link", "check_link"]

_CALLS = {
    "uses": "uses (n)",
    "bits": "bits (k)",
    "transmit": "transmit(s) -> blocks (B, n) or (B, 2n)",
    "receive": "receive(y) -> scores (B, 2^k)",
}
_TOLERANCE = 1e-3


class LinkAdapter(Link):
    """A module with `uses`, `bits`, `transmit` and `receive` as a `Link`; it is not changed.

    What it sends is looked up in the codebook of all its messages, sent together once. `fading` is its own
    where it has one, else none.

    Args:
        module: the user's link, in eval mode.
        snr: Eb/N0 in dB of the channel that `forward` uses.

    Raises:
        UserError: a call is missing, or answers something else.

    >>> class Repeat(nn.Module):
    ...     uses, bits = 3, 1
    ...
    ...     def transmit(self, s):
    ...         return (1.0 - 2.0 * s)[:, None].expand(-1, 3)
    ...
    ...     def receive(self, y):
    ...         return torch.stack([y.sum(1), -y.sum(1)], 1)
    >>> link = LinkAdapter(Repeat().eval())
    >>> link.rate, link(torch.tensor([0, 1])).shape
    (0.3333333333333333, torch.Size([2, 2]))
    """

    def __init__(self, module: nn.Module, *, snr: float = 8.5) -> None:
        lacking = [words for name, words in _CALLS.items() if not hasattr(module, name)]
        if lacking:
            raise UserError(
                f"the link lacks {', '.join(lacking)}; a link has {', '.join(_CALLS.values())}"
            )
        uses, bits = (_whole(getattr(module, name), name) for name in ("uses", "bits"))
        if bits > MOST_BITS:
            raise UserError(
                f"bits must be at most {MOST_BITS}, got {bits}: every message's block is looked at"
            )
        words = _answer(module, "transmit", torch.arange(2**bits))
        shapes = (2**bits, uses), (2**bits, 2 * uses)
        if tuple(words.shape) not in shapes:
            raise UserError(
                f"transmit returned blocks {tuple(words.shape)} for {2**bits} messages; expected "
                f"{shapes[0]}, in phase, or {shapes[1]}, in phase and then in quadrature"
            )
        fading: Fading = getattr(module, "fading", "none")
        super().__init__(uses, bits, words.shape[1], snr, fading)
        self.module, self.receiver = module, _Receive(module)
        self.train(module.training)

    def codebook(self) -> Tensor:
        """What is sent for every message, `(M, dimensions)`."""
        first = next(self.module.parameters(), torch.empty(0))
        s = torch.arange(self.messages, device=first.device)
        return self.module.transmit(s)  # type: ignore[operator, no-any-return]


class _Receive(nn.Module):
    """The user's receiver as a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, y: Tensor) -> Tensor:
        return self.module.receive(y)  # type: ignore[operator, no-any-return]


def adapt_link(module: nn.Module) -> Link:
    """The user's link as one of ours, checked; a `Link` is returned as it is.

    Raises:
        UserError: it is in train mode, lacks a call, answers in another shape, or its blocks have another
            mean energy than n.
    """
    link = module if isinstance(module, Link) else LinkAdapter(module)
    check_link(link)
    return link


@torch.no_grad()
def check_link(link: Link) -> None:
    """Refuse a link whose answers are no link's.

    Raises:
        UserError: with what to do instead.
    """
    if any(part.training for part in link.modules()):
        raise UserError("the link is in train mode; call link.eval() before returning it")
    _whole(link.uses, "uses"), _whole(link.bits, "bits")
    words = _finite(_answer(link, "codebook"), "the codebook")
    if tuple(words.shape) != (link.messages, link.dimensions):
        raise UserError(
            f"the codebook has shape {tuple(words.shape)}; expected {(link.messages, link.dimensions)}, one "
            "block for each message"
        )
    energy = float(words.double().square().sum(1).mean())
    if abs(energy / link.uses - 1) > _TOLERANCE:
        raise UserError(
            f"the mean energy of a block is {energy:.4g}, and must be n = {link.uses}, or no level in dB "
            f"would mean what it says; multiply what is sent by {(link.uses / max(energy, 1e-12)) ** 0.5:.4g}"
        )
    scores = _finite(_answer(link, "receive", words), "what is received")
    if tuple(scores.shape) != (link.messages, link.messages):
        raise UserError(
            f"receive returned {tuple(scores.shape)} for {link.messages} blocks; expected a score for each "
            f"of the {link.messages} messages"
        )


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        nothing = "; of one message there is nothing to tell" if name == "bits" else ""
        raise UserError(
            f"{name} of a link must be a whole number of at least 1, got {value!r}{nothing}"
        )
    return value


@torch.no_grad()
def _answer(module: nn.Module, name: str, *given: Tensor) -> Tensor:
    """What a call returns; its failure is the user's to know."""
    try:
        answer = getattr(module, name)(*given)
    except UserError:
        raise
    except Exception as error:
        shapes = ", ".join(str(tuple(part.shape)) for part in given)
        raise UserError(f"{name} failed on {shapes}: {type(error).__name__}: {error}") from error
    if not isinstance(answer, Tensor):
        raise UserError(f"{name} returned {type(answer).__name__}, not a tensor")
    return answer


def _finite(values: Tensor, what: str) -> Tensor:
    if not values.is_floating_point():
        raise UserError(f"{what} must be real numbers, got {values.dtype}")
    if not bool(values.isfinite().all()):
        raise UserError(f"{what} must be finite, and holds NaN or infinities")
    return values
