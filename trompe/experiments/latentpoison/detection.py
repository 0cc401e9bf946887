"""Who notices a tampered code: detectors on codes and on outputs, and shifts that know of them.

The paper tests each coordinate of a shifted code by itself, and suggests the classifier's uncertainty as an
alarm; it measures neither on codes. Here every detector gets its ROC: detectors learn on one half of the
training codes, thresholds come from the other, clean and tampered test codes belong to different images.
Beyond the paper: the distance of a code, of several codes of one sender, and a shift that was trained to pass
a detector which its attacker knows.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from trompe.experiments.latentpoison._runs import DIGITS, FACES, SMOKE, Case, Lab, Subject, cases
from trompe.experiments.store import Store

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trompe.attacks.universal import Perturbation
    from trompe.evaluation.records import Record

__all__ = ["FPR", "HARD", "PUBLISHED", "SCALES", "Config", "render", "run"]

FPR = 0.05
"""The share of clean codes that may raise the alarm."""
HARD = ("Independent", "Poisoning")
"""The L2 attacks that the paper calls hard to detect (appendix 6.4)."""
PUBLISHED: dict[str, tuple[float, str]] = {}
_THREAT = "Man in the middle: one shift for all codes, learned against a classifier of his own."
_KNOWING = f"{_THREAT} He knows the detector, its training codes among it."


@dataclass(frozen=True)
class Config:
    """What is detected.

    Args:
        subject: two classes, a VAE and two classifiers.
        rho: price of the shifts.
        together: codes of one sender that are tested at once.
        weights: of a detector's score in the loss of a shift that evades it, in standard deviations of the
            score on clean codes.
        codes: training codes that the defender sees; half set thresholds.
    """

    subject: Subject = DIGITS
    rho: float = 0.1
    together: int = 8
    weights: tuple[float, ...] = (0.1, 1.0)
    codes: int = 8000


SCALES = {
    "smoke": Config(SMOKE, together=4, weights=(1.0,)),
    "cpu": Config(),
    "paper": Config(FACES, rho=1.0),
}


def run(config: Config, store: Store) -> Iterator["Record"]:
    """The six shifts of the paper, then shifts that evade each detector."""
    lab, todo = Lab(config.subject), cases(config.rho)
    evaded = [(name, weight) for name in DETECTORS for weight in config.weights]
    store.total = len(todo) + len(evaded)
    for case in todo:
        yield from store.cell(case.name, lambda case=case: _published(lab, config, case))  # type: ignore[misc]
    for name, weight in evaded:
        yield from store.cell(
            f"evading {name}, {weight:g}",
            lambda name=name, weight=weight: _evading(lab, config, name, weight),  # type: ignore[misc]
        )


DETECTORS = ("Mahalanobis", "largest z-score", "entropy of the output")


class _Channel:
    """One autoencoder's codes, as the defender and the attacker see them."""

    def __init__(self, lab: Lab, config: Config, model: Any) -> None:
        self.lab, self.config, self.model = lab, config, model
        self.known, self.y = self._codes(lab.train, config.codes)
        self.test, self.labels = self._codes(lab.test, len(lab.test), draw=1)

    def _codes(self, data: Any, most: int, draw: int = 0) -> tuple["Tensor", "Tensor"]:
        """One draw of each image's code, and the labels; test codes meet noise that chose no threshold."""
        import torch

        from trompe.core import random

        made = []
        some = data.take(min(most, len(data)))
        for x, _, index in some.batches(256):
            seeds = random.seeds(self.lab.subject.seed, index)
            with torch.no_grad(), random.streams(seeds, draw):
                made.append(random.sample(self.model.encode(x)))
        return torch.cat(made), some.y

    def detectors(self) -> dict[str, "nn.Module"]:
        """On codes, and on what they decode to; the receiver's classifier is neither judge nor attacker's."""
        from trompe import zoo
        from trompe.defenses.tamper import Mahalanobis, OutputUncertainty, Tail

        half = self.known[: len(self.known) // 2]
        own = self.lab.recipes()["attacker"]
        receiver = zoo.get(replace(own, name=f"{self.lab.name}-receiver", seed=303), progress=False)
        made = Mahalanobis(half), Tail(half), OutputUncertainty(self.model.decode, receiver)
        return dict(zip(DETECTORS, made, strict=True))

    @property
    def held_out(self) -> "Tensor":
        """Codes that no detector was fitted on."""
        return self.known[len(self.known) // 2 :]

    def measured(self, shift: "Perturbation", **about: Any) -> Iterator["Record"]:
        """What every detector makes of a shift, and whether the judge is still turned."""
        import torch

        from trompe.attacks.universal import FLIP
        from trompe.evaluation.detection import detection

        with torch.no_grad():
            tampered = shift(self.test, FLIP.directions(self.labels))
            one_way = shift(self.test, 1)
        yield from self._flips(tampered, shift, **about)
        for name, detector in self.detectors().items():
            found = detection(
                detector, self.test[::2], tampered[1::2], held_out=self.held_out, fpr=FPR
            )
            yield from _named(found.records(**about), name)
            if name != "entropy of the output":
                sets = self.test[::2], one_way[1::2], self.held_out
                clean, moved, held_out = (_grouped(s, self.config.together) for s in sets)
                found = detection(detector, clean, moved, held_out=held_out, fpr=FPR)
                title = f"{name} of {self.config.together} codes"
                yield from _named(found.records(**about), title)

    def _flips(self, tampered: "Tensor", shift: "Perturbation", **about: Any) -> Iterator["Record"]:
        import torch

        from trompe.evaluation.records import Record

        judge = self.lab.trained("judge")
        with torch.no_grad():
            read = [judge(self.model.decode(part)).argmax(1) for part in tampered.split(256)]
        won = torch.cat(read) != self.labels
        size = float(shift.delta.detach().norm())
        yield Record.rate("flip rate", int(won.sum()), len(won), extra={"L2": size}, **about)


def _grouped(codes: "Tensor", count: int) -> "Tensor":
    """Codes in a shuffled order, `count` to a sender."""
    from trompe.core import random

    order = random.seeds(5, len(codes)).argsort()[: len(codes) // count * count]
    return codes[order].view(-1, count, codes.shape[1])


def _named(records: Iterable["Record"], detector: str) -> Iterator["Record"]:
    for record in records:
        yield replace(record, config={**record.config, "detector": detector})


def _published(lab: Lab, config: Config, case: Case) -> Iterator["Record"]:
    from trompe.metrics import tail_probability

    model, shift = lab.pair(case)
    extra = float(tail_probability(shift.delta.detach().abs().max()))
    about: dict[str, Any] = {"subject": lab.name, "attack": case.name, "threat": _THREAT}
    about |= {"norm": case.norm, "config": {"case": asdict(case), "tail max": extra}}
    yield from _Channel(lab, config, model).measured(shift, **about)


def _evading(lab: Lab, config: Config, name: str, weight: float) -> Iterator["Record"]:
    """A shift of the independent VAE's codes that is charged for a detector's score."""
    import torch

    from trompe.attacks.evasion import evading, watched
    from trompe.attacks.universal import FLIP

    case = Case(rho=config.rho)
    model: Any = lab.trained("vae")
    channel, read = _Channel(lab, config, model), lab.trained("attacker")
    detector = channel.detectors()[name]
    with torch.no_grad():
        scores = torch.cat([detector(part) for part in channel.held_out[:1000].split(250)])
    how = replace(lab.settings(case), goal=evading(FLIP, weight / float(scores.std())))
    tail = watched(lambda z: read(model.decode(z)), detector)
    size = lab.subject.batch
    pieces = range(0, len(channel.known), size)
    batches = [(channel.known[k : k + size], channel.y[k : k + size]) for k in pieces]
    shift = how.fit(tail, batches, seed=lab.subject.seed)
    about: dict[str, Any] = {"subject": lab.name, "attack": f"evading {name}, {weight:g}"}
    about |= {"threat": _KNOWING, "norm": case.norm, "config": {"evades": name, "weight": weight}}
    yield from channel.measured(shift, **about)


def render(records: Iterable["Record"]) -> str:
    """A row per shift and a column per detector, and what follows for the paper's claims."""
    from trompe.experiments.latentpoison._alarms import rendered

    return rendered(list(records))
