"""Defences of radio links: training against a power budget, and ends that turn what they send and hear.

A link is handed in, and what is asked of it is what `trompe.models.Link` has. A defended link has `uses`,
`bits`, `fading`, `transmit` and `receive` in its turn.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.geometry import Ball
from trompe.core.protocols import Attack
from trompe.defenses.adversarial import AdversarialStep

__all__ = ["Averaged", "Bank", "Key", "Keyed", "LinkStep", "phases", "rotations"]


class Bank(nn.Module):
    r"""Universal perturbations that keep abreast of the model they are trained against.

    An attack as steps call it, `bank(model, x, y, seeds=seeds) -> x_adv`, that remembers. Each of its K
    members meets every K-th value of a batch, and climbs by one step of unit direction:

    .. math:: p_j \leftarrow P_r\Big(p_j + \eta\, r \, \frac{g_j}{\|g_j\|}\Big), \qquad
        g_j = \nabla_{p_j} \sum_{i \equiv j \ (K)} CE(f(x_i + p_j), y_i)

    (Shafahi et al. 2020, "Universal Adversarial Training", algorithm 2, where K is 1. Of a single one a link
    learns the direction, and no other.)

    Args:
        ball: in which the members stay.
        site: shape of a value.
        size: K.
        rate: eta, a step in shares of the radius.
        renewed: after so many calls one member begins anew in a random direction, each in its turn; 0 is
            never.
        seed: of the random directions.

    Raises:
        UserError: no members, a rate that is not above zero, or a negative interval.

    >>> bank = Bank(Ball(1.0, "L2"), (2,), size=1, rate=2.0)
    >>> reader = nn.Linear(2, 2, bias=False).eval()
    >>> _ = reader.weight.data.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    >>> for _ in range(9):
    ...     x_adv = bank(reader, torch.zeros(1, 2), torch.tensor([0]))
    >>> (x_adv + 1).round().tolist()  # towards the other class, and all the way
    [[0.0, 1.0]]
    """

    members: Tensor
    calls: Tensor

    def __init__(
        self,
        ball: Ball,
        site: tuple[int, ...],
        *,
        size: int = 50,
        rate: float = 0.05,
        renewed: int = 20,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if size < 1 or not rate > 0 or renewed < 0:
            raise UserError(
                "a bank has at least 1 member, a rate above zero and renews one every so many calls (0 for "
                f"never), got {size}, {rate} and {renewed}"
            )
        self.ball, self.rate, self.renewed, self.seed = ball, rate, renewed, seed
        self.register_buffer("members", self._begun(torch.empty(size, *site), 0))
        self.register_buffer("calls", torch.tensor(0))

    def _begun(self, like: Tensor, number: int) -> Tensor:
        """Random directions, as long as the ball allows."""
        keys = random.seeds(self.seed, torch.arange(len(like), device=like.device))
        with random.streams(keys, number):
            return self.ball.eps * self.ball.steepest(random.normal(tuple(like.shape), like))

    def forward(
        self, model: nn.Module, x: Tensor, y: Tensor, *, seeds: Tensor | None = None
    ) -> Tensor:
        """Values `(B, *site)`, each with the member whose turn it is, after that has climbed."""
        turn = torch.arange(len(x), device=x.device) % len(self.members)
        with torch.enable_grad():
            members = self.members.clone().requires_grad_()
            loss = F.cross_entropy(model(x.detach() + members[turn]), y, reduction="sum")
            (slope,) = torch.autograd.grad(loss, members)
        step = self.rate * self.ball.eps * self.ball.steepest(slope)
        self.members.copy_(self.ball.project(self.members + step))
        self.calls += 1
        self._renew(int(self.calls))
        return x + self.members[turn]

    def _renew(self, calls: int) -> None:
        if self.renewed and calls % self.renewed == 0:
            place = calls // self.renewed % len(self.members)
            self.members[place] = self._begun(self.members, calls)[place]


class LinkStep(AdversarialStep):
    r"""Adversarial training of a radio, transmitter and receiver together, within a power budget.

    .. math:: CE\big(g(v + p), s\big), \qquad v = f(s) + w, \qquad v + p = \mathrm{attack}(g, v, s)

    The loss reaches the receiver g, and through v the transmitter f: the codebook moves apart where the
    attack pushes it together. What the attack adds is no part of the gradient. At radius zero this is plain
    training, bit for bit.

    Args:
        link: transmitter, channel and receiver, of which the parameters are trained.
        attack: `attack(receiver, v, s, seeds=seeds)`; a `Bank` is for one perturbation of all messages. One
            for each block, such as FGSM's, is more than that, and merges messages for good where its radius
            comes near to half the distance of codewords.
        lr: peak learning rate.
        options: as for `AdversarialStep`: clean, warm, schedule and others.

    Raises:
        UserError: as `AdversarialStep`.

    >>> from trompe.models import CommsAutoencoder, CommsConfig
    >>> step = LinkStep(CommsAutoencoder(CommsConfig(7, 4)), Bank(Ball(1.3, "L2"), (14,)), lr=1e-3)
    >>> sorted(step(torch.arange(16)))
    ['accuracy', 'loss']
    """

    def __init__(self, link: Any, attack: Attack, lr: float = 4e-3, **options: Any) -> None:
        super().__init__(link.receiver, attack, lr, parameters=link.parameters(), **options)
        self.link = link

    def __call__(self, *batch: Tensor) -> dict[str, Tensor]:
        """One update on messages `(B,)`; what follows them is not looked at."""
        s = batch[0]
        return super().__call__(self.link.channel(self.link.transmit(s)), s)

    def attacked(self, x: Tensor, y: Tensor) -> Tensor:
        """What the receiver hears, with a gradient to the transmitter and none to the perturbation."""
        heard = x.detach()
        return x + (super().attacked(heard, y) - heard)

    def modules(self) -> dict[str, nn.Module]:
        """The link, and an attack that remembers."""
        known = {"attack": self.attack} if isinstance(self.attack, nn.Module) else {}
        return {"model": self.link, **known}

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed training needs."""
        states = {name: module.state_dict() for name, module in self.modules().items()}
        return {**super().state_dict(), **states}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        super().load_state_dict({**state, "model": self.model.state_dict()})
        for name, module in self.modules().items():
            module.load_state_dict(state[name])


def phases(angles: Tensor, uses: int) -> Tensor:
    r"""Rotations `(R, 2n, 2n)` of all channel uses by a common phase, :math:`y \mapsto e^{i\phi} y`.

    Args:
        angles: phi `(R,)`, in radians.
        uses: n; the first n numbers are in phase, the second n in quadrature.

    >>> (phases(torch.tensor([torch.pi / 2]), 1) @ torch.tensor([1.0, 0.0])).abs().round().tolist()
    [[0.0, 1.0]]
    """
    eye = torch.eye(uses, dtype=angles.dtype, device=angles.device)
    turn = torch.stack([angles.cos(), -angles.sin(), angles.sin(), angles.cos()], -1)
    return torch.stack([torch.kron(each, eye) for each in turn.view(-1, 2, 2)])


def rotations(count: int, dimensions: int, *, angle: float | None = None, seed: int = 0) -> Tensor:
    r"""Random orthogonal maps `(count, d, d)`: of any size, or near the identity.

    Of any size they are uniform: the Q of a normal matrix, with signs such that R has a positive diagonal
    (Mezzadri 2007, "How to generate random matrices from the classical compact groups", section 5). Near the
    identity they are :math:`\exp(A)` of a skew-symmetric normal A, which turn a vector by about `angle`.

    Args:
        count: how many.
        dimensions: d.
        angle: in radians; None is any size.
        seed: of the draws.

    Raises:
        UserError: counts below 1, or a negative angle.

    >>> q = rotations(3, 4)
    >>> torch.allclose(q @ q.mT, torch.eye(4).expand(3, 4, 4), atol=1e-5)
    True
    """
    if count < 1 or dimensions < 1 or (angle is not None and not angle >= 0):
        raise UserError(
            f"rotations take counts of at least 1 and an angle of 0 or more, got {count} in {dimensions} "
            f"dimensions by {angle}"
        )
    with random.streams(random.seeds(seed, count)):
        g = random.normal((count, dimensions, dimensions))
    if angle is None:
        q, r = torch.linalg.qr(g)
        uniform: Tensor = q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None]
        return uniform
    skew = (g - g.mT) / (2 * max(1, dimensions - 1)) ** 0.5
    near: Tensor = torch.linalg.matrix_exp(angle * skew)
    return near


class Averaged(nn.Module):
    r"""A link whose receiver averages its probabilities over rotations of what arrived.

    .. math:: P(s | y) = \frac1R \sum_{r=1}^R \mathrm{softmax}\, g(Q_r y)

    The rotations are known to all, and always the same: the answer is deterministic, and an attacker
    differentiates through the average. There is no secret and nothing to agree on.

    Args:
        link: in eval mode; it is not changed.
        turns: Q, `(R, d, d)`, as `phases` and `rotations` make them; the identity alone gives the link's own
            probabilities.

    Raises:
        UserError: maps of another size than the link's blocks.

    >>> from trompe.models import HAMMING_7_4, BlockCode
    >>> link = Averaged(BlockCode(HAMMING_7_4).eval(), rotations(5, 7, angle=0.1))
    >>> link.receive(link.transmit(torch.arange(3))).argmax(1).tolist()
    [0, 1, 2]
    """

    turns: Tensor

    def __init__(self, link: Any, turns: Tensor) -> None:
        super().__init__()
        self.link, self.uses, self.bits, self.fading = link, link.uses, link.bits, link.fading
        self.register_buffer("turns", _fitting(turns, link.dimensions))
        self.train(link.training)

    def transmit(self, s: Tensor) -> Tensor:
        """The link's own blocks."""
        return self.link.transmit(s)  # type: ignore[no-any-return]

    def receive(self, y: Tensor) -> Tensor:
        """The logarithm of the mean probabilities, `(B, M)`."""
        turned = torch.einsum("rij,bj->bri", self.turns, y)
        scores = self.link.receive(turned.flatten(0, 1)).log_softmax(1)
        shares = scores.view(len(y), len(self.turns), -1)
        return torch.logsumexp(shares, 1) - math.log(len(self.turns))


@dataclass(frozen=True)
class Key:
    r"""A secret of both ends: a rotation :math:`Q_t` for each of T blocks, uniform at random.

    To the link a perturbation p arrives as :math:`Q_t^\top p`, of the same length and in another direction
    for every block. The key says so in the words of `trompe.attacks.Arrival`, and stands where one does: a
    `Perturbation` with it for `arrival` meets a link as it meets the keyed one, and an attacker who knows the
    method, not the key, prepares for a key of his own.

    Args:
        seed: the secret; whoever knows it undoes the defence.
        frame: T, blocks after which the rotations come again.

    Raises:
        UserError: a frame without blocks.

    >>> [round(size, 4) for size in Key(frame=3).variants(torch.tensor([3.0, 4.0])).norm(dim=1).tolist()]
    [5.0, 5.0, 5.0]
    """

    seed: int = 0
    frame: int = 4096

    def __post_init__(self) -> None:
        if self.frame < 1:
            raise UserError(f"a frame has at least 1 block, got {self.frame}")

    def rotations(self, like: Tensor) -> Tensor:
        """Q `(T, d, d)` for blocks `(*, d)`."""
        return _turns(self.frame, like.shape[-1], self.seed).to(like)

    def variants(self, delta: Tensor) -> Tensor:
        """What a perturbation `(d,)` is when block after block was turned back, `(T, d)`."""
        return delta @ self.rotations(delta)


@lru_cache(maxsize=8)
def _turns(count: int, dimensions: int, seed: int) -> Tensor:
    return rotations(count, dimensions, seed=seed)


class Keyed(nn.Module):
    r"""A link whose ends turn every block by a rotation that they alone know.

    Block t of a frame is sent as :math:`Q_t x(s)` and read as :math:`g(Q_t^\top y)`. White noise looks the
    same from all sides, so without an attack nothing changes. A universal p has no direction left to choose:
    with fresh rotations it is jamming of its own power, whatever p is.

    What is assumed: a secret that both ends share and nobody else; that they count blocks together, as a
    block read under another's rotation is lost; a channel that turns nothing itself. An attacker who can
    measure a block as it is sent and answer within it is not stopped.

    It is no `Link`, as what is sent depends on the block's place: rows are the blocks of a frame in their
    order. Evaluations use the link itself, and a `Key` as how a perturbation arrives.

    Args:
        link: it is not changed.
        key: the secret.

    Raises:
        UserError: a fading channel, whose noise does not look the same from all sides.

    >>> from trompe.models import HAMMING_7_4, BlockCode
    >>> keyed = Keyed(BlockCode(HAMMING_7_4).eval(), Key(seed=2019))
    >>> keyed.receive(keyed.transmit(torch.arange(3))).argmax(1).tolist()
    [0, 1, 2]
    """

    def __init__(self, link: Any, key: Key) -> None:
        super().__init__()
        if link.fading != "none":
            raise UserError(
                "a key hides directions in white noise; after fading some channel uses are noisier than "
                "others, and rotations would mix them"
            )
        self.link, self.key = link, key
        self.train(link.training)

    def _rotations(self, x: Tensor) -> Tensor:
        return self.key.rotations(x)[torch.arange(len(x), device=x.device) % self.key.frame]

    def transmit(self, s: Tensor) -> Tensor:
        """The blocks of messages `(B,)`, each turned by its rotation."""
        x: Tensor = self.link.transmit(s)
        return (self._rotations(x) @ x[..., None])[..., 0]

    def receive(self, y: Tensor) -> Tensor:
        """Scores of what arrived, `(B, dimensions)`, after it was turned back."""
        back = self._rotations(y).mT @ y[..., None]
        return self.link.receive(back[..., 0])  # type: ignore[no-any-return]

    def forward(self, s: Tensor) -> Tensor:
        """Scores of messages sent over the link's channel."""
        return self.receive(self.link.channel(self.transmit(s)))


def _fitting(turns: Tensor, dimensions: int) -> Tensor:
    if turns.ndim != 3 or turns.shape[1:] != (dimensions, dimensions):
        raise UserError(
            f"rotations of these blocks have shape (R, {dimensions}, {dimensions}), got {tuple(turns.shape)}"
        )
    return turns.detach().clone()
