"""The conventional chain: a binary block code, sent bit by bit as +-1 and decoded by the book.

References: R. W. Hamming, "Error Detecting and Error Correcting Codes", 1950; J. G. Proakis, "Digital
Communications", chapters 4 and 7 (BPSK; hard and maximum-likelihood decoding of block codes).
"""

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.models.channel import MOST_BITS, Fading, Link

__all__ = ["HAMMING_7_4", "UNCODED", "BlockCode", "Decoder", "Sign"]

Decoder = Literal["ml", "hard"]
Matrix = Sequence[Sequence[int]]

HAMMING_7_4: Matrix = (
    (1, 0, 0, 0, 1, 1, 0),
    (0, 1, 0, 0, 1, 0, 1),
    (0, 0, 1, 0, 0, 1, 1),
    (0, 0, 0, 1, 1, 1, 1),
)
"""The systematic generator of Hamming's (7, 4) code, of least distance 3."""
UNCODED: Matrix = ((1,),)
"""One bit in one channel use: plain BPSK."""


class BlockCode(Link):
    r"""A binary linear (n, k) code over BPSK: `code(s) -> scores (B, M)`; the most likely codeword wins.

    Message s, in binary :math:`b(s)`, is sent as :math:`x_i = 1 - 2 (b G)_i`, n real numbers in phase; what
    is in quadrature is not listened to. The score of a codeword is its correlation with what arrived, or with
    its signs: the largest is the nearest codeword, in Euclidean distance (maximum likelihood) or in Hamming's
    (hard). Under fading the block is correlated as it was equalised, without the weights |h|^2 of the most
    likely codeword.

    Args:
        generator: G, k rows of n bits; k is at most 12, as all codewords are listed.
        decoder: `"ml"` or `"hard"`.
        snr: Eb/N0 in dB of the channel that `forward` uses.
        fading: of the channel.

    Raises:
        UserError: rows of unequal length or too many, entries other than 0 and 1, codewords that coincide,
            or another decoder.

    >>> code = BlockCode(HAMMING_7_4)
    >>> code.transmit(torch.tensor([0, 1])).int().tolist()
    [[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, -1, -1, -1, -1]]
    >>> y = code.transmit(torch.arange(16))
    >>> y[:, 2] *= -1  # one wrong bit in each block
    >>> bool((code.receive(y).argmax(1) == torch.arange(16)).all())
    True
    """

    codewords: Tensor

    def __init__(
        self,
        generator: Matrix = HAMMING_7_4,
        decoder: Decoder = "ml",
        *,
        snr: float = 8.5,
        fading: Fading = "none",
    ) -> None:
        codewords = _codewords(generator)
        if decoder not in get_args(Decoder):
            raise UserError(f"decoder must be ml or hard, got {decoder!r}")
        uses = codewords.shape[1]
        super().__init__(uses, len(generator), uses, snr, fading)
        self.decoder = decoder
        self.register_buffer("codewords", codewords)
        correlation = nn.utils.skip_init(nn.Linear, uses, len(codewords), bias=False)
        correlation.requires_grad_(False).weight.copy_(codewords)
        self.receiver = nn.Sequential(Sign(), correlation) if decoder == "hard" else correlation
        self.eval()

    def codebook(self) -> Tensor:
        """The codewords as +-1, `(M, n)`."""
        return self.codewords


class Sign(nn.Module):
    """-1, 0 or 1: a bit decided by itself."""

    def forward(self, y: Tensor) -> Tensor:
        """The signs of any tensor."""
        return y.sign()


def _codewords(generator: Matrix) -> Tensor:
    """All codewords as +-1, message by message; its first bit is the most significant."""
    given = [list(row) if isinstance(row, Iterable) else [] for row in generator]
    if not given or not given[0] or len({len(row) for row in given}) != 1:
        raise UserError("a generator has k >= 1 rows of n >= 1 bits each")
    if any(bit not in (0, 1) for row in given for bit in row):
        raise UserError("a generator holds bits, 0 or 1")
    rows, k = torch.tensor([[int(bit) for bit in row] for row in given]), len(given)
    if k > MOST_BITS:
        raise UserError(
            f"k must be at most {MOST_BITS}, got {k}: all codewords are listed, and there would be {2**k}"
        )
    bits = torch.arange(2**k)[:, None] >> torch.arange(k - 1, -1, -1) & 1
    words = bits @ rows % 2
    if len(words.unique(dim=0)) < len(words):
        raise UserError(
            "two messages have the same codeword: the generator's rows depend on each other"
        )
    return 1.0 - 2.0 * words
