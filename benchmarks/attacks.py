"""Attacks on classifiers beside the bare passes, Foolbox and ART, at equal gradient budgets."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks import peers
from benchmarks.timing import Contender, Timing, interleaved, ratio
from benchmarks.victims import Victim, counted, victim
from trompe.attacks.base import ClassifierAttack
from trompe.attacks.carlini_wagner import CW
from trompe.attacks.decoupled import DDN
from trompe.attacks.deepfool import DeepFool
from trompe.attacks.elastic_net import EAD
from trompe.attacks.gradient import FGSM, PGD
from trompe.core.execution import execution, metered
from trompe.core.geometry import Ball, norm
from trompe.evaluation.records import Record

__all__ = ["CASES", "Case", "measure", "run"]

EPS, STEPS = 0.3, 40
BALL = Ball(EPS, "Linf")
BARE = {"conv4": 10, "mlp": 400}  # passes in a round, enough to time


@dataclass(frozen=True)
class Case:
    """One attack as several libraries carry it out.

    Args:
        victim: `"conv4"` or `"mlp"`.
        norm: in which the distortion is measured.
        ours: our attacks by the name of the contender, and the precision of their search.
        peers: other libraries' attacks by name; made when they are needed, for their imports are slow.
        once: peers too slow for more than one call.
        images: attacked at once, all classified correctly.
    """

    victim: str
    norm: str
    ours: Mapping[str, tuple[ClassifierAttack, str]]
    peers: Mapping[str, Callable[[], peers.Attack]]
    once: tuple[str, ...] = ()
    images: int = 100
    eps: float | None = None


def _pgd(**changes: object) -> PGD:
    return PGD(BALL, steps=STEPS, step_size=0.025, **{"early_stop": False, **changes})  # type: ignore[arg-type]


def _linf(name: str, **options: object) -> Callable[[], peers.Attack]:
    return partial(peers.foolbox, name, EPS, **options)


PLAIN, LOW = "float32", "bf16"


def _pgd_case(victim: str) -> Case:
    ours = {"trompe": (_pgd(), PLAIN), "trompe, leaving": (_pgd(early_stop=True), PLAIN)}
    if victim == "conv4":
        ours["trompe bf16"] = (_pgd(), LOW)
        ours["trompe bf16, leaving"] = (_pgd(early_stop=True), LOW)
    others = {
        "Foolbox": _linf("LinfPGD", rel_stepsize=0.025 / EPS, steps=STEPS),
        "ART": partial(
            peers.art, "ProjectedGradientDescentPyTorch",
            eps=EPS, eps_step=0.025, max_iter=STEPS, num_random_init=1,
        ),
    }  # fmt: skip
    return Case(victim, "Linf", ours, others, eps=EPS)


def _fgsm_case(victim: str) -> Case:
    others = {
        "Foolbox": _linf("FGSM"),
        "ART": partial(peers.art, "FastGradientMethod", eps=EPS),
    }
    return Case(victim, "Linf", {"trompe": (FGSM(BALL), PLAIN)}, others, eps=EPS)


def _cw_case(victim: str) -> Case:
    own = CW(steps=100, rounds=1, lr=0.05, c=10.0, abort_early=False)
    same = replace(own, shrink=0.999999)  # the peers' value
    ours = {"trompe": (same, PLAIN), "trompe, own shrink": (own, PLAIN)}
    if victim == "conv4":
        ours["trompe bf16"] = (same, LOW)
    others = {
        "Foolbox": partial(
            peers.foolbox, "L2CarliniWagnerAttack", binary_search_steps=1, steps=100,
            stepsize=0.05, initial_const=10.0, abort_early=False,
        ),
        "ART": partial(
            peers.art, "CarliniL2Method", binary_search_steps=1, max_iter=10,
            learning_rate=0.05, initial_const=10.0,
        ),
    }  # fmt: skip
    return Case(victim, "L2", ours, others, once=("ART",))


def _ead_case(victim: str) -> Case:
    ours = EAD(steps=100, rounds=1, lr=0.02, c=1.0, abort_early=False)
    foolbox = partial(
        peers.foolbox, "EADAttack", binary_search_steps=1, steps=100,
        initial_stepsize=0.02, initial_const=1.0, regularization=1e-3, abort_early=False,
    )  # fmt: skip
    return Case(victim, "L1", {"trompe": (ours, PLAIN)}, {"Foolbox": foolbox})


def _deepfool_case(victim: str) -> Case:
    ours = {
        "trompe": (DeepFool("L2", overshoot=0.02), PLAIN),
        "trompe, 4 classes": (DeepFool("L2", overshoot=0.02, candidates=4), PLAIN),
    }
    others = {
        "Foolbox": partial(
            peers.foolbox, "L2DeepFoolAttack", steps=50, overshoot=0.02, candidates=None
        ),
        "ART": partial(peers.art, "DeepFool", max_iter=50, epsilon=0.02, nb_grads=10),
    }
    return Case(victim, "L2", ours, others, once=("ART",))


def _ddn_case(victim: str) -> Case:
    foolbox = partial(peers.foolbox, "DDNAttack", steps=40)
    return Case(victim, "L2", {"trompe": (DDN(steps=40), PLAIN)}, {"Foolbox": foolbox})


_KINDS = {
    "pgd": _pgd_case,
    "fgsm": _fgsm_case,
    "cw": _cw_case,
    "ead": _ead_case,
    "deepfool": _deepfool_case,
    "ddn": _ddn_case,
}
CASES: dict[str, Case] = {
    f"{name}{end}": make(victim)
    for victim, end in (("conv4", ""), ("mlp", "-mlp"))
    for name, make in _KINDS.items()
}


def run(name: str, rounds: int) -> list[Record]:
    """The records of one benchmark of ours."""
    return measure(name, CASES[name], rounds)


def measure(name: str, case: Case, rounds: int) -> list[Record]:
    """For each contender of a case its time over the bare passes it used."""
    subject = victim(case.victim, case.images)
    costs: dict[str, dict[str, int]] = {}
    passes = BARE[case.victim]
    contenders = [Contender("bare", partial(subject.bare, passes))]
    for label, (attack, precision) in case.ours.items():
        contenders.append(Contender(label, _ours(subject, attack, precision, label, costs)))
    for label, make in case.peers.items():
        work = _theirs(subject, make(), label, costs)
        contenders.append(Contender(label, work, once=label in case.once))
    timings = interleaved(contenders, rounds)
    return [_record(name, case, subject, label, timings, costs) for label in costs]


def _ours(
    subject: Victim,
    attack: ClassifierAttack,
    precision: str,
    label: str,
    costs: dict[str, dict[str, int]],
) -> Callable[[], Tensor]:
    def work() -> Tensor:
        with execution(precision=precision), metered() as cost:
            found = attack(subject.model, subject.x, subject.y)
        costs[label] = {"forwards": cost.forwards, "backwards": cost.backwards}
        return found

    return work


def _theirs(
    subject: Victim, attack: peers.Attack, label: str, costs: dict[str, dict[str, int]]
) -> Callable[[], Tensor]:
    """The first, untimed call is the one whose passes are counted."""

    def work() -> Tensor:
        model: nn.Module = subject.model
        if label not in costs:
            model, costs[label] = counted(model)
        found = attack(model, subject.x.clone(), subject.y)
        model.eval().zero_grad(set_to_none=True)
        return found

    return work


def _record(
    name: str,
    case: Case,
    subject: Victim,
    label: str,
    timings: dict[str, Timing],
    costs: dict[str, dict[str, int]],
) -> Record:
    mine = timings[label]
    floor = [seconds / BARE[case.victim] for seconds in timings["bare"].seconds]
    gradients = costs[label]["backwards"] / case.images
    fooled = subject.fooled(mine.result)
    distance = norm(mine.result - subject.x, case.norm)[fooled]  # type: ignore[arg-type]
    middle, low, high = ratio(mine.seconds, [s * gradients for s in floor])
    attack = case.ours[label][0] if label in case.ours else None
    return Record(
        metric="time over the bare passes used",
        value=middle,
        low=low,
        high=high,
        interval=f"range of {len(mine.seconds)} rounds",
        n=case.images,
        subject=f"mnist {case.victim}",
        attack=label,
        norm=case.norm,
        eps=case.eps,
        paper="benchmarks",
        item=name,
        scale="cpu",
        seconds=mine.median,
        forwards=costs[label]["forwards"],
        backwards=costs[label]["backwards"],
        extra={
            "success": float(fooled.float().mean()),
            "distance": float(distance.mean()) if len(distance) else float("nan"),
            "gradients per image": gradients,
            "bare seconds": statistics.median(floor),
            "clean accuracy": subject.accuracy,
        },
        config={
            "rounds": [round(s, 5) for s in mine.seconds],
            "bare rounds": [round(s, 6) for s in floor],
            "attack": str(attack) if attack is not None else label,
            "threads": torch.get_num_threads(),
        },
    )
