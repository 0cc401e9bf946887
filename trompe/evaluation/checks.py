"""The doctor: can a robust accuracy be believed?

Each check is a way in which honest gradients and honest attacks must behave (Athalye et al. 2018;
Carlini et al. 2019, "On evaluating adversarial robustness"). A number whose doctor objects says more
about the attack than about the model.
"""

import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from trompe.attacks import APGDT, PGD
from trompe.attacks.base import Attack, margin_of
from trompe.attacks.query import Square
from trompe.attacks.transfer import Transfer
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.execution import device_of, execution
from trompe.core.geometry import Ball, norm, per_example
from trompe.core.protocols import Domain
from trompe.core.search import GradientWarning
from trompe.evaluation.evaluate import Result, evaluate
from trompe.evaluation.inputs import Data, admit, batches
from trompe.evaluation.outcomes import REPORT, Nature, nature, outcomes
from trompe.evaluation.rounds import networks_of

__all__ = ["Check", "Diagnosis", "doctor"]


@dataclass(frozen=True)
class Check:
    """One question, its answer, and why it matters. `passed` is None where it could not be asked."""

    name: str
    passed: bool | None
    detail: str
    why: str


@dataclass(frozen=True)
class Diagnosis:
    """All checks of one model at one radius, and what follows from them."""

    checks: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        """Whether no check failed."""
        return all(check.passed is not False for check in self.checks)

    @property
    def verdict(self) -> str:
        """One sentence."""
        failed = [check.name for check in self.checks if check.passed is False]
        if failed:
            return f"Do not trust this robust accuracy. Not so: {'; '.join(failed)}."
        skipped = sum(check.passed is None for check in self.checks)
        passed = len(self.checks) - skipped
        left = f" ({skipped} could not be asked)" if skipped else ""
        return f"No sign of masked gradients: {passed} checks passed{left}."


def doctor(
    model: nn.Module,
    data: Data,
    ball: Ball,
    *,
    domain: Domain | None = None,
    surrogate: nn.Module | None = None,
    attack: Attack | None = None,
    n: int = 64,
    steps: int = 40,
    queries: int = 500,
    draws: int = 10,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Diagnosis:
    """Examine how the gradients of a classifier, and attacks on it, behave around `ball`.

    Args:
        model: a classifier in eval mode, defended or not.
        data: as for `evaluate`; the first `n` examples are used.
        ball: the radius at which robust accuracy is claimed.
        domain: what an input is; that of the data, or images.
        surrogate: another classifier, from which attacks are transferred.
        attack: the white box to examine, such as the worst rung of `trompe.attacks.ladder`; by default PGD
            on the margin, joined by APGD-T where it is compared with attackers who see less.
        steps: of the white-box attack; the longer one takes four times as many.
        queries: of the black-box attack.
        draws: of a random model, per gradient.

    Raises:
        UserError: inputs, labels or a model that do not fit.
    """
    x, y, index = next(batches(data, n))
    domain = domain or getattr(attack or data, "domain", None) or PGD(ball).domain
    if attack is not None and getattr(getattr(attack, "ball", None), "norm", "") != ball.norm:
        raise UserError(f"the attack to examine must have a ball of norm {ball.norm}")
    domain.validate(x)
    device = device_of(model, x)
    x, y, seeds = x.to(device), y.to(device), random.seeds(seed, index).to(device)
    admit(model, x, y, seeds)
    kind = nature(model, x[:16], seeds[:16])
    right = float(outcomes(model, x, y, seeds, REPORT, 20 if kind.random else 1).correct.mean())
    patient = _Patient(
        model, x, y, seeds, ball, domain, kind, surrogate, attack, steps, queries, draws, seed, right
    )  # fmt: skip
    return Diagnosis(tuple(_asked(patient, progress)))


def _asked(
    patient: "_Patient", progress: Callable[[int, int, str], None] | None
) -> Iterator[Check]:
    """The answers, one by one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GradientWarning)  # the report says it in full
        for number, question in enumerate(_QUESTIONS):
            if progress is not None:
                progress(number, len(_QUESTIONS), question.name)
            yield question.put(patient)


@dataclass
class _Patient:
    """The model under examination, and what attacks on it have shown so far."""

    model: nn.Module
    x: Tensor
    y: Tensor
    seeds: Tensor
    ball: Ball
    domain: Domain
    kind: Nature
    surrogate: nn.Module | None
    attack: Attack | None
    steps: int
    queries: int
    draws: int
    seed: int
    right: float
    gradient: Tensor | None = None
    made: dict[tuple[Any, ...], Result] = field(default_factory=dict)

    def fallen(self, *suite: Attack) -> Result:
        """The evaluation of one attack or several, made once."""
        networks = (network for attack in suite for network in networks_of(attack))
        key = suite, *map(id, networks)  # attacks are equal whatever networks they hold
        if key not in self.made:
            with execution(draws=self.draws if self.kind.random else 1):
                self.made[key] = evaluate(
                    self.model, suite, (self.x, self.y), batch=len(self.x), seed=self.seed
                )
        return self.made[key]

    def accuracy(self, *suite: Attack) -> float:
        """Robust accuracy in the worst case over a suite."""
        return self.fallen(*suite).robust_accuracy

    def white_box(self) -> float:
        """Robust accuracy under the white-box attacks; all that stands clean where they have no gradient."""
        if self.attack is not None:
            return self.accuracy(self.white())
        if self.gradient is not None:
            targets = APGDT(self.ball, steps=self.steps, targets=3, domain=self.domain)
            return self.accuracy(self.white(), targets)
        return self.right

    def white(self, eps: float | None = None, pace: float = 1.0) -> Attack:
        """The white-box attack, at some radius and with some multiple of its steps, if it has any."""
        attack = self.pgd() if self.attack is None else self.attack
        return _paced(attack, pace).at(self.ball.eps if eps is None else eps)

    def pgd(self) -> PGD:
        """The white-box attack where none was given."""
        return PGD(self.ball, steps=self.steps, loss="margin", domain=self.domain)

    @property
    def slack(self) -> float:
        """The difference that two examples, or the draws of a random model, may make."""
        return max(2.0 / len(self.x), 0.02) + (0.05 if self.kind.random else 0.0)

    def margin(self, x: Tensor, model: nn.Module | None = None) -> Tensor:
        """The margin of each example, on one and the same draw."""
        with random.streams(self.seeds[: len(x)]):
            return margin_of((model or self.model)(x), self.y[: len(x)], targeted=False)


def _steps(attack: Attack) -> int | None:
    """How many steps an attack takes, or the one inside it."""
    inside = getattr(attack, "attack", None)
    return _steps(inside) if isinstance(inside, Attack) else getattr(attack, "steps", None)


def _paced(attack: Attack, pace: float) -> Attack:
    """The same attack with a multiple of its steps, and at least two; as it is where it has none."""
    inside, steps = getattr(attack, "attack", None), getattr(attack, "steps", None)
    if isinstance(inside, Attack):
        change: dict[str, Any] = {"attack": _paced(inside, pace)}
    elif isinstance(steps, int) and pace != 1:
        change = {"steps": max(2, round(pace * steps))}
    else:
        return attack
    return replace(attack, **change).using(**attack._networks)


Answer = tuple[bool | None, str]


def _compare(weaker: tuple[str, float], stronger: tuple[str, float], slack: float) -> Answer:
    """The stronger attack must not leave more standing than the weaker one."""
    told = f"{stronger[0]} leaves {stronger[1]:.1%} standing, {weaker[0]} {weaker[1]:.1%}"
    return stronger[1] <= weaker[1] + slack, told


def _randomness(p: _Patient) -> Answer:
    if not p.kind.random:
        return True, "the model is deterministic"
    if p.kind.controlled:
        return True, "the model is random, and repeats itself on the same draw"
    return False, "the same input and draw gave two outputs; draw noise from trompe.core.random"


def _reaches(p: _Patient) -> Answer:
    v = p.x.clone().requires_grad_()
    with torch.enable_grad():
        value = p.margin(v).sum()
        found = torch.autograd.grad(value, v, allow_unused=True)[0] if value.requires_grad else None
    if found is None:
        return False, "the model detaches its input; attack through BPDA"
    if not bool(torch.isfinite(found).all()):
        return False, "the gradient holds NaN or infinite values"
    p.gradient = found
    dead = float((found.flatten(1).abs().amax(1) == 0).float().mean())
    return dead < 0.05, f"exactly zero on {dead:.1%} of {len(p.x)} examples"


def _finite_differences(p: _Patient) -> Answer:
    assert p.gradient is not None
    try:  # a float64 copy: kinks and rounding blur small differences in float32
        error = _slope_error(p, copy.deepcopy(p.model).double(), torch.float64, 1e-5)
    except Exception:  # a user's model may insist on float32 or refuse to be copied
        error = _slope_error(p, p.model, p.x.dtype, 1e-3)
    if len(error) == 0:
        return None, "every gradient is zero"
    middle = float(error.median())
    return middle < 0.1, f"median relative difference {middle:.2g} along the gradient"


def _slope_error(p: _Patient, model: nn.Module, dtype: torch.dtype, h: float) -> Tensor:
    """Relative error of the gradient as the slope along itself, where it is not zero.

    Both steps stay in the domain: at its border a model may clip, and has a slope on one side only.
    """
    assert p.gradient is not None
    grad, x = p.gradient[:16].to(dtype), p.x[:16].to(dtype)
    step = h * grad / per_example(norm(grad, "L2").clamp_min(1e-30), grad)
    ahead, behind = p.domain.project(x + step), p.domain.project(x - step)
    claimed = (grad * (ahead - behind)).flatten(1).sum(1)
    with torch.no_grad():
        rise = p.margin(ahead, model) - p.margin(behind, model)
    return ((rise - claimed).abs() / claimed.clamp_min(1e-30))[claimed > 0]


def _zero_radius(p: _Patient) -> Answer:
    result = p.fallen(p.white(eps=0.0, pace=0.0))
    clean, robust = result.clean_accuracy, result.robust_accuracy
    return abs(clean - robust) <= 1e-9, f"{clean:.1%} clean, {robust:.1%} at radius zero"


def _more_steps(p: _Patient) -> Answer:
    one, four = p.white(), p.white(pace=4.0)
    if _steps(one) is None:
        return None, "the attack has no number of steps"
    short, long = p.accuracy(one), p.accuracy(four)
    return _compare((f"{_steps(one)} steps", short), (f"{_steps(four)} steps", long), p.slack)


def _larger_radius(p: _Patient) -> Answer:
    small, large = p.accuracy(p.white()), p.accuracy(p.white(eps=2 * p.ball.eps))
    names = f"eps {p.ball.eps:.4g}", f"eps {2 * p.ball.eps:.4g}"
    return _compare((names[0], small), (names[1], large), p.slack)


def _unbounded(p: _Patient) -> Answer:
    apart = float(p.domain.distances(p.x, p.x.flip(0))[p.ball.norm].amax())
    radius = max(4 * p.ball.eps, 2 * apart, 1e-6)
    left = p.accuracy(p.white(eps=radius, pace=2.0))
    return left <= p.slack, f"{left:.1%} still stand at {p.ball.norm} {radius:.3g}"


def _black_box(p: _Patient) -> Answer:
    if p.ball.norm == "L1":
        return None, "Square has no form for L1"
    blind = p.accuracy(Square(p.ball, steps=p.queries, domain=p.domain))
    return _compare((f"Square ({p.queries} queries)", blind), ("white box", p.white_box()), p.slack)


def _transfer(p: _Patient) -> Answer:
    if p.surrogate is None:
        return None, "no surrogate model was given"
    thorough = replace(p.pgd(), early_stop=False)  # what barely fools one model moves no other
    moved = p.accuracy(Transfer(thorough, domain=p.domain).using(surrogate=p.surrogate))
    return _compare(("transfer", moved), ("white box", p.white_box()), p.slack)


@dataclass(frozen=True)
class _Question:
    name: str
    why: str
    ask: Callable[[_Patient], Answer]
    needs_gradient: bool = True
    attacks: bool = True

    def has_gradient(self, patient: _Patient) -> bool:
        """Whether there is what the question is about; an attack that was given may go around."""
        around = self.attacks and patient.attack is not None
        return patient.gradient is not None or around or not self.needs_gradient

    def put(self, patient: _Patient) -> Check:
        """Ask, unless what the question needs is not there."""
        if not self.has_gradient(patient):
            return Check(self.name, None, "there is no gradient to follow", self.why)
        if self.attacks and patient.right == 0:
            return Check(self.name, None, "no example is classified correctly", self.why)
        try:
            passed, detail = self.ask(patient)
        except UserError as error:  # the model fails on the way, as with a gradient that is NaN
            passed, detail = False, str(error)
        return Check(self.name, passed, detail, self.why)


_QUESTIONS = (
    _Question(
        "randomness is under control",
        "Noise outside the package's streams cannot be repeated, averaged over or reported on.",
        _randomness,
        needs_gradient=False,
        attacks=False,
    ),
    _Question(
        "gradients reach the input",
        "A severed or zero gradient gives an attack nothing to follow.",
        _reaches,
        needs_gradient=False,
        attacks=False,
    ),
    _Question(
        "autograd agrees with finite differences",
        "A backward pass that differs from the function misleads every gradient attack.",
        _finite_differences,
        attacks=False,
    ),
    _Question(
        "radius zero gives clean accuracy",
        "An attack must not be credited with what it did not do.",
        _zero_radius,
    ),
    _Question(
        "more steps are not worse",
        "An attack that loses by trying longer is lost in noise or on a plateau.",
        _more_steps,
    ),
    _Question(
        "a larger radius is not worse",
        "Every perturbation of a ball lies in the larger ball too.",
        _larger_radius,
    ),
    _Question(
        "an unbounded radius reaches everything",
        "With no limit any input can become one of another class: what stands is the attack's failure.",
        _unbounded,
    ),
    _Question(
        "black box is not better than white box",
        "Who sees gradients sees more than who only asks: if asking wins, the gradients are masked.",
        _black_box,
        needs_gradient=False,
    ),
    _Question(
        "transfer is not better than white box",
        "Examples made on another model must not beat those made on this one.",
        _transfer,
        needs_gradient=False,
    ),
)
