"""One perturbation shared by all values at a site: a shift of codes, of an encoder's inputs, of a channel.

A *site* is any place in a model where values `v` `(B, *site)` can be touched, and the *tail* is what the
model does after it: any callable `tail(v)`. LatentPoison's shift of codes (Creswell, Bharath & Sengupta 2017)
and a universal perturbation of images (Moosavi-Dezfooli et al. 2017) differ only in their tails and goals.
"""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from trompe.attacks.arrival import Arrival, Forms
from trompe.attacks.draws import Draw, best, drawn, endless, gradient, keys, require_eval
from trompe.attacks.goals import DAMAGE, FLIP, MISLEAD, MISREAD, Goal
from trompe.core import random
from trompe.core.domains import Vectors
from trompe.core.errors import UserError
from trompe.core.geometry import Ball, norm
from trompe.core.protocols import Domain

__all__ = [
    "DAMAGE",
    "FLIP",
    "MISLEAD",
    "MISREAD",
    "Goal",
    "NormPenalty",
    "Perturbation",
    "ShiftStep",
    "Universal",
]

Mode = Literal["add", "multiply"]
Tail = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class NormPenalty:
    """A price `rho * ||dz||_p` on the perturbation's own norm, unsquared as published.

    Raises:
        UserError: a negative weight or another norm.

    >>> NormPenalty(0.5, "L1")(torch.tensor([[3.0, -4.0]]))
    tensor(3.5000)
    """

    rho: float
    norm: Literal["L1", "L2"] = "L2"
    squared: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.rho < math.inf:
            raise UserError(f"rho must be zero or more, got {self.rho}")
        if self.norm not in ("L1", "L2"):
            raise UserError(f"the penalty's norm must be L1 or L2, got {self.norm!r}")

    def __call__(self, delta: Tensor) -> Tensor:
        """The price of `(D, *site)`, the mean over its D directions."""
        size = norm(delta, self.norm)
        return self.rho * (size.square() if self.squared else size).mean()


class Perturbation(nn.Module):
    r"""The learned perturbation: `perturbation(v, direction)`, `(B, *site)` to the same.

    .. math:: v' = v + t\,\delta \qquad\text{or}\qquad v' = v \odot (1 + \delta)

    with `t = +1` from class 0 to class 1 and `t = -1` back. Multiplied, it is the same both ways (Creswell et
    al. 2017, appendix): a mask that swaps signs swaps them in either direction. With a vector for each
    direction, `delta` has two rows, for `+1` and for `-1`, and each is applied as it is.

    Args:
        delta: `(1, *site)`, or `(2, *site)` for one per direction.
        mode: `"add"` or `"multiply"`.
        domain: what a value at the site is; results are projected into it.
        arrival: the forms in which it may meet a value; each example draws one from the ambient streams.

    Raises:
        UserError: another mode or shape, or forms of what is multiplied or has two directions.

    >>> shift = Perturbation(torch.tensor([[1.0, 0.0]]))
    >>> shift(torch.zeros(2, 2), torch.tensor([1, -1])).tolist()
    [[1.0, 0.0], [-1.0, 0.0]]
    """

    def __init__(
        self,
        delta: Tensor,
        mode: Mode = "add",
        domain: Domain | None = None,
        arrival: Forms | None = None,
    ) -> None:
        super().__init__()
        if mode not in get_args(Mode):
            raise UserError(f"mode must be add or multiply, got {mode!r}")
        if delta.ndim < 2 or len(delta) not in (1, 2):
            raise UserError(f"delta has shape (1 or 2, *site), got {tuple(delta.shape)}")
        self.delta = nn.Parameter(delta.detach().clone())
        self.mode = mode
        self.domain: Domain = Vectors() if domain is None else domain
        self.arrival: Forms = arrival or Arrival()
        if self.arrival != Arrival() and (mode == "multiply" or len(delta) == 2):
            raise UserError(
                "only what is added, the same in both directions, arrives in several forms"
            )

    def forward(self, v: Tensor, direction: Tensor | int = 1) -> Tensor:
        """The values with the perturbation in them; `direction` is +1 or -1, one for all or `(B,)`."""
        return self.domain.project(self.moved(v, direction))

    def moved(self, v: Tensor, direction: Tensor | int = 1) -> Tensor:
        """The same before it is projected into the domain."""
        if v.shape[1:] != self.delta.shape[1:]:
            raise UserError(
                f"the perturbation is for values of shape {tuple(self.delta.shape[1:])}, "
                f"got {tuple(v.shape[1:])}"
            )
        t = torch.as_tensor(direction, device=v.device).expand(len(v))
        delta = self.delta[(t < 0).long()] if len(self.delta) == 2 else self.delta
        if self.mode == "multiply":
            return v * (1 + delta)
        if len(self.delta) == 2:
            return v + delta
        if self.arrival != Arrival():
            forms = self.arrival.variants(self.delta[0])
            which = random.uniform((len(v),), v.new_empty(0, dtype=torch.float64)) * len(forms)
            delta = forms[which.long()]  # in single precision a number next to one becomes one
        return v + t.view(-1, *[1] * (v.ndim - 1)).to(v.dtype) * delta


@dataclass(frozen=True)
class Universal:
    r"""The settings under which one perturbation of all values at a site is learned.

    .. math:: \min_\delta \; E\,[\,\ell(\mathrm{tail}(v \oplus t\,\delta), \text{reference})\,]
        + \rho\,\|\delta\|_p

    (Creswell et al. 2017, section 3.2; they write no rho, their code has 1.) With a `Ball` for a budget there
    is no price: the perturbation is projected into the ball after every step. Departures: rho is a setting,
    the rate falls linearly to zero, and the loss reaches the perturbation alone.

    Args:
        budget: a `NormPenalty`, or a `Ball` that caps the perturbation's own norm.
        goal: `FLIP`, `MISLEAD`, `MISREAD`, `DAMAGE`, or any `Goal`.
        mode: add the perturbation, or multiply by one plus it.
        per_direction: a vector for each direction instead of one with two signs.
        steps: batches it is learned on.
        lr: Adam's rate at the start; under a ball the step of projected descent, in shares of the radius.
        start: standard deviation of the first perturbation.
        domain: what a value at the site is: `Vectors()` for codes, `Images()` for images.
        arrival: the forms in which the perturbation may meet a value, for an attacker who cannot choose.
        restarts: perturbations learned side by side from different starts; `fit` returns the one of the least
            loss and price on further batches. Where decisions are misled there are many local optima.

    Raises:
        UserError: settings out of range.

    >>> tail = nn.Linear(2, 2).eval()
    >>> _ = nn.init.zeros_(tail.bias), tail.weight.data.copy_(torch.tensor([[-1.0, 0], [1, 0]]))
    >>> codes, y = torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1])
    >>> shift = Universal(NormPenalty(0.01), steps=300, lr=0.1).fit(tail, [(codes, y)])
    >>> tail(shift(codes, FLIP.directions(y))).argmax(1).tolist()
    [1, 0]
    """

    budget: NormPenalty | Ball
    goal: Goal = FLIP
    mode: Mode = "add"
    per_direction: bool = False
    steps: int = 400
    lr: float = 0.01
    start: float = 1.0
    domain: Domain = field(default_factory=Vectors)
    arrival: Forms = field(default_factory=Arrival)
    restarts: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.budget, NormPenalty | Ball):
            raise UserError(f"the budget is a NormPenalty or a Ball, got {self.budget!r}")
        if isinstance(self.budget, Ball) and self.budget.eps == 0:
            raise UserError(
                "a ball of radius zero leaves nothing to learn; give a radius above zero"
            )
        if self.steps < 1 or not self.lr > 0 or not self.start >= 0:
            raise UserError("steps must be at least 1, lr positive and start zero or more")
        if self.restarts < 1:
            raise UserError(f"restarts must be at least 1, got {self.restarts}")
        if self.per_direction and not self.goal.two_way:
            raise UserError(f"goal {self.goal.name} goes one way; per_direction needs two")

    def perturbation(self, site: Sequence[int], *, seed: int = 0) -> Perturbation:
        """Where learning begins, for values of shape `site`: normal numbers, within the budget."""
        rows = 2 if self.per_direction else 1
        with random.streams(random.seeds(seed, rows)):
            first = self.start * random.normal((rows, *site))
        return Perturbation(self._capped(first), self.mode, self.domain, self.arrival)

    def losses(self, tail: Tail, shift: Perturbation, v: Tensor, reference: Tensor) -> Tensor:
        """The goal's loss of each example `(B,)`, without the price; all that a score-only search needs."""
        return self.goal.loss(tail(shift(v, self.goal.directions(reference))), reference)

    def price(self, delta: Tensor) -> Tensor:
        """What the perturbation costs beside the goal; nothing under a ball."""
        return self.budget(delta) if isinstance(self.budget, NormPenalty) else delta.new_zeros(())

    def _capped(self, delta: Tensor) -> Tensor:
        return self.budget.project(delta) if isinstance(self.budget, Ball) else delta

    def cap(self, shift: Perturbation) -> None:
        """Bring a perturbation back into the ball, in place."""
        with torch.no_grad():
            shift.delta.copy_(self._capped(shift.delta))

    def step(
        self, tail: Tail, site: Sequence[int], *, head: Tail | None = None, seed: int = 0
    ) -> "ShiftStep":
        """What learns it, for `training.train` or for `fit`."""
        return ShiftStep(self, tail, site, head=head, seed=seed)

    def fit(
        self,
        tail: Tail,
        batches: Iterable[Sequence[Tensor]],
        *,
        seed: int = 0,
        head: Tail | None = None,
    ) -> Perturbation:
        """The perturbation learned on `steps` batches; tail and head are left as they are.

        Args:
            tail: `tail(v)`: logits for `FLIP` and `MISLEAD`, any output for `DAMAGE`; its noise comes from
                the ambient streams.
            batches: `(v, reference[, index])`, begun again when they end.
            seed: of the start and of all noise.
            head: what makes values at the site of the batches' first entry, such as a draw of the code; it
                is not differentiated.

        Raises:
            UserError: a tail in train mode, too few batches, labels other than 0 and 1, no gradient path.
        """
        require_eval(tail, head)
        source, learners = endless(batches), list[ShiftStep]()
        for number, batch in enumerate(islice(source, self.steps)):
            if not learners:
                learners = self._learners(tail, _values(batch[0], head), seed)
            with random.streams(keys(seed, batch), number) as noise:
                with torch.no_grad():
                    v = batch[0] if head is None else head(batch[0])
                begun = noise.calls
                for step in learners:
                    noise.calls = begun
                    step.set_rate(number / max(1, self.steps - 1))
                    step(v, batch[1])
        if not learners:
            raise UserError("there are no batches to learn a perturbation on")
        draws = (
            drawn(batch, head, keys(seed, batch), number)
            for number, batch in enumerate(source, self.steps)
        )
        return best(partial(self._objective, tail), [step.shift.eval() for step in learners], draws)

    def _learners(self, tail: Tail, like: Tensor, seed: int) -> list["ShiftStep"]:
        """One for each restart; the first begins where the only one would."""
        starts = [seed, *random.seeds(seed, self.restarts)[1:].tolist()]
        steps = [self.step(tail, like.shape[1:], seed=start) for start in starts]
        for step in steps:
            step.shift.to(like)
        return steps

    def _objective(self, tail: Tail, shift: Perturbation, draw: Draw) -> Tensor:
        """What is descended, on values that none was learned from."""
        with draw.noise():
            return self.losses(tail, shift, draw.v, draw.y).mean() + self.price(shift.delta)


def _values(batch: Tensor, head: Tail | None) -> Tensor:
    """What stands at the site, to see its shape and dtype."""
    with torch.no_grad(), random.streams(random.seeds(0, len(batch))):
        return batch if head is None else head(batch)


class ShiftStep:
    """One update of a shared perturbation and of nothing else, as a `trompe.core.protocols.Step`.

    `training.train` runs, resumes and distributes it; `PoisoningStep` joins it with an autoencoder's own.
    The tail's weights receive no gradient and keep those they hold. The tail must be on the device.

    Args:
        how: the settings.
        tail: what the model does after the site.
        site: shape of one value there.
        head: what makes the values of a batch's first entry; not differentiated.
        seed: of the first perturbation.
    """

    def __init__(
        self,
        how: Universal,
        tail: Tail,
        site: Sequence[int],
        *,
        head: Tail | None = None,
        seed: int = 0,
    ) -> None:
        self.how, self.tail, self.head = how, tail, head
        self.shift = how.perturbation(site, seed=seed)
        self.optimizer: torch.optim.Optimizer
        if isinstance(how.budget, Ball) and how.budget.eps < math.inf:
            self.rate = how.lr * how.budget.eps
            self.optimizer = torch.optim.SGD(self.shift.parameters(), lr=self.rate, momentum=0.9)
        else:
            self.rate = how.lr
            self.optimizer = torch.optim.Adam(self.shift.parameters(), lr=self.rate)

    def set_rate(self, progress: float) -> None:
        """The optimiser's rate at a share of the way, by the schedule."""
        self.optimizer.param_groups[0]["lr"] = self.rate * self.schedule(progress)

    def _descended(self, grad: Tensor) -> Tensor:
        """What the optimiser is given: under a ball a direction of unit size.

        Adam's own rescaling of coordinates would settle where the projection does not: in an L2 ball at equal
        entries, whatever the gradient's.
        """
        if isinstance(self.optimizer, torch.optim.Adam):
            return grad
        kind = self.how.budget.norm
        return Ball(1.0, "Linf" if kind == "Linf" else "L2").steepest(grad)

    def schedule(self, progress: float) -> float:
        """The rate falls linearly to zero."""
        return 1 - progress

    def __call__(self, *batch: Tensor) -> Mapping[str, Tensor]:
        """One update on `(v, reference)`; an index after them is not looked at."""
        values, reference = batch[:2]
        with torch.no_grad():
            v = (values if self.head is None else self.head(values)).detach()
        goal, price, grad = self.slope(v, reference)
        self.shift.delta.grad = self._descended(grad)
        self.optimizer.step()
        self.how.cap(self.shift)
        return {"shift_goal": goal.detach(), "shift_price": price.detach()}

    def slope(self, v: Tensor, reference: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The goal's mean loss, the price, and the gradient of both together at the perturbation."""
        with torch.enable_grad():
            goal = self.how.losses(self.tail, self.shift, v, reference).mean()
            price = self.how.price(self.shift.delta)
            return goal, price, gradient(goal + price, self.shift.delta)

    def modules(self) -> Mapping[str, nn.Module]:
        """The perturbation."""
        return {"shift": self.shift}

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Adam, or under a ball descent with momentum."""
        return {"shift": self.optimizer}

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed training needs."""
        return {"shift": self.shift.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Continue from a state."""
        self.shift.load_state_dict(state["shift"])
        # an optimiser keeps the tensors that it is given: they must not be another's
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
