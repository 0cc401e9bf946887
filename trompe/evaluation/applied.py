"""One attack on a whole set: what it returned, kept, and measured from outside.

`evaluate` answers how a model fares in the worst case and keeps no inputs; this keeps the inputs of one
attack, of any kind, targeted or not.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from trompe.attacks.base import Attack
from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.execution import Cost, metered, predict
from trompe.core.geometry import Ball
from trompe.data import Dataset
from trompe.evaluation.autoencoder import distances, partners
from trompe.evaluation.inputs import Progress, clipped
from trompe.evaluation.judge import about_judge, read
from trompe.evaluation.outcomes import REPORT, nature, outcomes
from trompe.evaluation.pairs import judged_pairs, stability, there
from trompe.evaluation.records import Record

__all__ = ["Setting", "Taken", "on_autoencoder", "on_classifier", "on_codes", "on_transition"]

BATCH = 128


@dataclass(frozen=True)
class Setting:
    """On what, with which draws and where an attack is carried out, and what records say about it.

    Args:
        data: the examples.
        places: where they stand in the whole data.
        seed, draws, device: of the measurement.
        about: what records repeat of the run.
        told: the progress bar, if there is one.
    """

    data: Dataset
    places: list[int]
    seed: int
    draws: int
    device: torch.device
    about: dict[str, Any]
    told: Progress | None = None


@dataclass(frozen=True)
class Taken:
    """Inputs before and after an attack, and what was measured on them.

    Args:
        x, found: clean and adversarial inputs `(N, *)`.
        y: labels `(N,)`, where there are any.
        index: places in the data, `(N,)`.
        extra: further arrays of N rows, by name; those of the shape of `x` are pictures too.
        records: the measurements.
    """

    x: Tensor
    found: Tensor
    y: Tensor | None
    index: Tensor
    extra: dict[str, Tensor]
    records: tuple[Record, ...]

    def arrays(self) -> dict[str, Tensor]:
        """What the .npz file holds."""
        labels = {} if self.y is None else {"y": self.y}
        return {"x": self.x, "x_adv": self.found, **labels, "index": self.index, **self.extra}

    def images(self) -> dict[str, Tensor]:
        """What is worth looking at."""
        more = {k: v for k, v in self.extra.items() if v.shape == self.x.shape}
        return {"original": self.x, "adversarial": self.found, **more}

    def rows(self) -> list[tuple[str, str, str, str]]:
        """The measurements as rows of a table."""
        rows = []
        for record in self.records:
            interval = (
                ""
                if record.low is None
                else f"{record.low:.3f} to {record.high:.3f}, {record.interval}"
            )
            rows.append((record.metric, f"{record.value:.4g}", interval, str(record.n)))
            rows += [(f"  {k}", f"{v:.4g}", "", "") for k, v in record.extra.items()]
        return rows


def _batches(
    setting: Setting, one: Callable[[Tensor, Tensor, Tensor, Tensor], dict[str, Tensor]]
) -> tuple[dict[str, Tensor], Cost, float]:
    """Do `one(x, y, index, seeds)` on every batch; join what it returns, and count what it cost."""
    parts: list[dict[str, Tensor]] = []
    start = time.perf_counter()
    with metered() as cost, torch.no_grad():
        for x, y, index in setting.data.batches(BATCH):
            if setting.told is not None:
                setting.told(int(index[0]), len(setting.data), setting.about["subject"])
            labels = torch.zeros(len(x), dtype=torch.int64) if y is None else y
            x, labels = x.to(setting.device), labels.to(setting.device)
            seeds = random.seeds(setting.seed, index).to(setting.device)
            parts.append(one(x, labels, index, seeds) | {"x": x, "index": index})
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    joined["index"] = torch.tensor(setting.places)
    return joined, cost, time.perf_counter() - start


def _common(attack: Attack, setting: Setting, cost: Cost, seconds: float) -> dict[str, Any]:
    """What all records of a run share."""
    ball = getattr(attack, "ball", None)
    eps, norm = (ball.eps, ball.norm) if isinstance(ball, Ball) else (None, "")
    about = setting.about
    return {
        "subject": about["subject"],
        "attack": attack.describe()["attack"],
        "eps": eps,
        "norm": norm,
        "seed": setting.seed,
        "config": {
            "attack": attack.describe(),
            **about,
            "data": setting.data.checksum,
        },
        "seconds": seconds,
        "forwards": cost.forwards,
        "backwards": cost.backwards,
    }


def _labels(setting: Setting) -> Tensor:
    if setting.data.y is None:
        raise UserError(f"{setting.data.name} has no labels; this attack needs them")
    return setting.data.y


def on_classifier(model: nn.Module, attack: Attack, setting: Setting, targeted: bool) -> Taken:
    """Attack what is classified correctly; targeted, towards the class that follows its own.

    Records: clean accuracy, robust accuracy and, targeted, how often the target was reached.
    """
    y, domain = _labels(setting), setting.data.domain
    looks, classes = 1, 0

    def one(x: Tensor, y: Tensor, index: Tensor, seeds: Tensor) -> dict[str, Tensor]:
        nonlocal looks, classes
        if not classes:
            classes = predict(model, x[:1]).shape[1]
            looks = setting.draws if nature(model, x[:8], seeds[:8]).random else 1
        goal = (y + 1) % classes if targeted else y
        clean = outcomes(model, x, y, seeds, REPORT, looks)
        rows = (clean.correct > 0.5).nonzero()[:, 0]
        found = x
        if len(rows):
            some = clipped(attack, x[rows], attack(model, x[rows], goal[rows], seeds=seeds[rows]))
            found = x.index_copy(0, rows, some)
        after = outcomes(model, found, y, seeds, REPORT, looks)
        shown = outcomes(model, domain.as_delivered(found), y, seeds, REPORT, looks)
        reached = outcomes(model, found, goal, seeds, REPORT, looks).correct
        sizes = {f"_{k}": v for k, v in domain.distances(x, found).items()}
        tried = torch.zeros_like(y, dtype=torch.bool).index_fill(0, rows, True)
        return {
            "found": found, "goal": goal, "_tried": tried, "_clean": clean.correct, "_reached": reached,
            "_correct": after.correct, "_wrong": after.wrong, "_rejected": after.rejected,
            "_shown": shown.wrong, **sizes,
        }  # fmt: skip

    made, cost, seconds = _batches(setting, one)
    common, n = _common(attack, setting, cost, seconds), len(y)
    broken = made["_tried"] & (made["_correct"] <= 0.5)
    sizes = {
        k: made[f"_{k}"][broken].mean() for k in domain.distances(made["x"][:1], made["x"][:1])
    }
    extra = {
        "attacked": float(made["_tried"].sum()),
        "broken": float(broken.sum()),
        "wrong": float(made["_wrong"].mean()),
        "rejected": float(made["_rejected"].mean()),
        "wrong when delivered": float(made["_shown"].mean()),
    } | {f"mean {k} of the broken": float(v) for k, v in sizes.items() if bool(broken.any())}
    clean = Record.rate("clean accuracy", float(made["_clean"].sum()), n, **common)
    robust = Record.rate(
        "robust accuracy", float(made["_correct"].sum()), n, **{**common, "extra": extra}
    )
    records = [clean, robust]
    if targeted:
        tried = made["_tried"]
        wins = float(made["_reached"][tried].sum())
        records.append(Record.rate("target reached", wins, int(tried.sum()), **common))
    goals = {"target": made["goal"]} if targeted else {}
    return Taken(made["x"], made["found"], y, made["index"], goals, tuple(records))


def _targets(data: Dataset) -> Tensor:
    """For each example the place of the next one of another class, or of the next one at all."""
    n = len(data)
    if n < 2:
        raise UserError("a targeted attack on an autoencoder needs at least two examples")
    alike = data.y is None or bool((data.y == data.y[0]).all())
    return partners(torch.arange(n) if alike or data.y is None else data.y)


def _reconstructed(model: nn.Module, x: Tensor, seeds: Tensor) -> Tensor:
    """The output on the draw that is measured."""
    with random.streams(seeds, REPORT):
        return predict(model, x)


def on_autoencoder(model: nn.Module, attack: Attack, setting: Setting) -> Taken:
    """Attack every example; how far its output moved, and how near it came to the target's."""
    data = setting.data
    targeted = bool(getattr(attack, "targeted", True))
    places = _targets(data) if targeted else torch.arange(len(data))

    def one(x: Tensor, y: Tensor, index: Tensor, seeds: Tensor) -> dict[str, Tensor]:
        target = data.tensors(places[index])[0].to(x) if targeted else None
        found = clipped(attack, x, attack(model, x, target, seeds=seeds))
        measured = distances(model, x, found, target, seeds=seeds)._asdict()
        outputs = {"found": found, "reconstruction": _reconstructed(model, found, seeds)}
        more = {} if target is None else {"target": target}
        return outputs | more | {f"_{k}": v for k, v in measured.items()}

    made, cost, seconds = _batches(setting, one)
    common = _common(attack, setting, cost, seconds)
    names = {"_l2": "L2 of the perturbation", "_change": "L2 change of the output"}
    if targeted:
        names = {
            "_distance": "relative target distance",
            "_distortion": "relative distortion",
            **names,
        }
    records = tuple(_mean(name, made[key], common) for key, name in names.items())
    kept: dict[str, Tensor] = {k: made[k] for k in ("target", "reconstruction") if k in made}
    return Taken(made["x"], made["found"], data.y, made["index"], kept, records)


def _mean(name: str, values: Tensor, common: dict[str, Any]) -> Record:
    """The mean over the examples where it is defined, with the normal 95% interval of a mean."""
    known = values[~values.isnan()].double()
    n = len(known)
    if n == 0:
        return Record(f"mean {name}", float("nan"), 0, **common)
    value = float(known.mean())
    if n < 2:
        return Record(f"mean {name}", value, n, **common)
    half = 1.96 * float(known.std()) / n**0.5
    return Record(f"mean {name}", value, n, value - half, value + half, "normal 95%", **common)


def on_codes(model: Any, judge: nn.Module, attack: Attack, setting: Setting) -> Taken:
    """Attack every example; how often a classifier of codes reads another label, or the target's."""
    y = _labels(setting)
    targeted = bool(getattr(attack, "targeted", True))

    def read(x: Tensor, seeds: Tensor) -> Tensor:
        with random.streams(seeds, REPORT):
            logits: Tensor = judge(model.encode(x).mean)
        return logits

    def one(x: Tensor, y: Tensor, index: Tensor, seeds: Tensor) -> dict[str, Tensor]:
        before = read(x, seeds)
        goal = (y + 1) % before.shape[1] if targeted else y
        found = clipped(attack, x, attack(model, x, goal, seeds=seeds))
        after = read(found, seeds).argmax(1)
        return {
            "found": found, "goal": goal, "_clean": before.argmax(1) == y, "_right": after == y,
            "_reached": after == goal, "reconstruction": _reconstructed(model, found, seeds),
            **{f"_{k}": v for k, v in setting.data.domain.distances(x, found).items()},
        }  # fmt: skip

    made, cost, seconds = _batches(setting, one)
    common, n = _common(attack, setting, cost, seconds), len(y)
    extra = {f"mean {k}": float(made[f"_{k}"].mean()) for k in ("L2", "Linf")}
    records = [
        Record.rate("codes read correctly, clean", float(made["_clean"].sum()), n, **common),
        Record.rate(
            "codes read correctly", float(made["_right"].sum()), n, **{**common, "extra": extra}
        ),
    ]
    if targeted:
        records.append(Record.rate("target reached", float(made["_reached"].sum()), n, **common))
    more = {"target": made["goal"]} if targeted else {}
    kept = more | {"reconstruction": made["reconstruction"]}
    return Taken(made["x"], made["found"], y, made["index"], kept, tuple(records))


def on_transition(model: nn.Module, judge: nn.Module, attack: Any, setting: Setting) -> Taken:
    """Change what images are, and see whether the model's answer stays; a judge says what they became.

    The attack meets the images that the model reads correctly and that are not of its target already; its
    records count those of them that the judge reads correctly too.
    """
    domain = setting.data.domain
    some, rows, left = _movable(model, attack, setting)
    pairs = []

    def one(x: Tensor, y: Tensor, index: Tensor, seeds: Tensor) -> dict[str, Tensor]:
        seeds = random.seeds(setting.seed, rows[index]).to(x.device)  # those they were chosen with
        found = clipped(attack, x, attack(model, x, y, seeds=seeds))
        target = attack.targets(model, x, y, seeds)
        told: dict[str, Any] = {"index": index, "seeds": seeds, "domain": domain}
        pairs.extend(judged_pairs(model, judge, x, found, y, target, **told))
        return {"found": found, "target": target, "_seen": read(judge, x).label == y}

    made, cost, seconds = _batches(some, one)
    common = _common(attack, setting, cost, seconds)
    common["config"]["judge"] = about_judge(judge)
    seen = made["_seen"].tolist()
    counted = [pair for pair, read_rightly in zip(pairs, seen, strict=True) if read_rightly]
    left["judge erred"] = len(pairs) - len(counted)
    first, *rest = stability(counted, **common)
    records = (replace(first, extra={**left, **first.extra}), *rest)
    looks = [pair.found for pair in pairs]
    told = {
        "target": made["target"],
        "judged": torch.tensor([look.judged for look in looks]),
        "real": torch.tensor([look.real for look in looks]),
        "confidence": torch.tensor([look.confidence for look in looks]),
    }
    return Taken(made["x"], made["found"], some.data.y, made["index"], told, records)


def _movable(
    model: nn.Module, attack: Any, setting: Setting
) -> tuple[Setting, Tensor, dict[str, float | int]]:
    """The images that such an attack can be asked about, their places among those asked for, and how many
    are left out for which reason."""
    y, right = _labels(setting), []
    for x, _, index in setting.data.batches(BATCH):
        with random.streams(random.seeds(setting.seed, index).to(setting.device), REPORT):
            right.append(predict(model, x.to(setting.device)).argmax(1).cpu() == y[index])
    read_rightly = torch.cat(right)
    already = there(attack, y)
    kept = (read_rightly & ~already).nonzero()[:, 0]
    rows = kept.tolist()
    if not rows:
        raise UserError(
            f"all {int(read_rightly.sum())} images that the model reads correctly are of class "
            f"{attack.target} already: choose another target"
            if bool(read_rightly.any())
            else f"the model misreads all {len(y)} images, so it has no right answer to keep"
        )
    some = replace(
        setting, data=setting.data.subset(rows), places=[setting.places[row] for row in rows]
    )
    erred = int((~read_rightly).sum())
    left: dict[str, float | int] = {
        "asked": len(y),
        "victim erred": erred,
        "of the target already": len(y) - len(rows) - erred,
    }
    return some, kept, left
