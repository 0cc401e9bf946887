"""The page of `reconstruction/magnet`: attackers as rows, defences as columns."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trompe.experiments.reconstruction.magnet import (
    AWARE,
    BARE,
    BOTH,
    COLLECTION,
    DEFENCES,
    DETECTORS,
    DIVERGENCES,
    OBLIVIOUS,
    ORDERED,
    PUBLISHED,
    RATE,
    REFORMER,
    SPLITS,
    STACK,
    SUCCESS,
)
from trompe.reports import Curve, Series, Table, markdown_table
from trompe.reports.pictures import standalone
from trompe.reports.wording import number, percent

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["drawn", "rendered"]

PICTURE = "magnet-attackers.svg"
CAPTION = "Who fools MagNet, by what the attacker knows"


def rendered(records: "list[Record]") -> str:
    """False alarms, the table of outcomes, the published numbers, and what follows."""
    parts = [_head(records), "### False alarms", _alarms(records), _contains(records)]
    parts += ["### Attackers", f"![{CAPTION}](pictures/{PICTURE})", _outcomes(records)]
    parts += ["### Beside the published numbers", _published(records)]
    parts += ["### What follows", _follows(records)]
    return "\n\n".join(filter(None, parts))


def _rate(record: "Record", digits: int = 1) -> str:
    low, high = percent(record.low or 0.0, digits), percent(record.high or 0.0, digits)
    return f"{percent(record.value, digits)} [{low}, {high}]"


def _find(records: "Sequence[Record]", metric: str, subject: str) -> "Record":
    return next(r for r in records if r.metric == metric and r.subject == subject)


def _attacks(records: "Sequence[Record]", knows: str, subject: str) -> "list[Record]":
    return [
        r
        for r in records
        if r.metric == SUCCESS and r.config["knows"] == knows and r.subject == subject
    ]


def _head(records: "list[Record]") -> str:
    alarm, config = _find(records, RATE, BOTH), records[0].config
    n = _attacks(records, OBLIVIOUS, BOTH)[0].n
    return (
        f"The test images of {config['data']} are halved at random: thresholds are set on "
        f"{alarm.config['calibrated on']}, and everything is measured on the other {alarm.n}, of which the "
        f"first {n} are attacked. *{REFORMER}* and *{DETECTORS}* are the halves of *{BOTH}*: L2 under the "
        "first autoencoder, which is the reformer, and L1 under the second. "
        f"*{DIVERGENCES}* adds the divergences at temperatures "
        f"{' and '.join(f'{t:g}' for t in config['temperatures'])}; *{COLLECTION}* draws one of "
        f"{config['members']} reformers for each look, and another under the detector. The autoencoders are "
        "trained for fewer passes than the authors' 100. Brackets are Wilson 95% intervals; images that are "
        "read wrongly without an attack count as successes wherever they are accepted."
    )


def _alarms(records: "list[Record]") -> str:
    rows = []
    for name in (BOTH, DIVERGENCES, COLLECTION):
        found = _find(records, RATE, name)
        at = ", ".join(
            f"{key} {number(value)}" for key, value in found.config["thresholds"].items()
        )
        rows.append((name, at, f"{found.config['fpr']:.1%}", _rate(found, 2), _contained(found)))
    columns = (
        "Defence",
        "Thresholds",
        "Asked",
        "Refused of clean",
        "Interval holds what was asked",
    )
    return markdown_table(Table("", columns, tuple(rows)))


def _contained(record: "Record") -> str:
    asked = float(record.config["fpr"])
    low, high = record.low or 0.0, record.high or 1.0
    return "yes" if low <= asked <= high else "no"


def _contains(records: "list[Record]") -> str:
    """How often it would, and what a split in the set's own order does."""
    told = []
    for name in (BOTH, DIVERGENCES):
        many, ordered = _find(records, SPLITS, name), _find(records, ORDERED, name)
        told.append(
            f"{name}: over {many.n} other random halves the mean rate is "
            f"{percent(many.extra['mean rate'], 2)}, and the interval holds what was asked in "
            f"{_rate(many, 0)}; with thresholds from the last half of the set as it is ordered, "
            f"{_rate(ordered, 2)} of the first half are refused."
        )
    return (
        "The interval is that of the test half alone. The threshold is an estimate too, from about as many "
        "images, so that an exact procedure is expected to miss the interval in about one halving of six. "
        + " ".join(told)
        + " The order of the set is no random one, so halves in order are no sample of each other."
    )


def _cell(record: "Record | None") -> str | None:
    if record is None:
        return None
    refused = record.extra["refused"]
    return _rate(record) + (f"; {percent(refused)} refused" if refused else "")


def _outcomes(records: "list[Record]") -> str:
    """Success by attack and defence: wrong and accepted, and the refused apart."""
    rows: list[tuple[str | None, ...]] = []
    for knows in (OBLIVIOUS, STACK, AWARE):
        here = [r for r in records if r.metric == SUCCESS and r.config["knows"] == knows]
        for attack in dict.fromkeys(r.attack for r in here):
            by = {r.subject: r for r in here if r.attack == attack}
            rows.append((knows, attack, *(_cell(by.get(name)) for name in DEFENCES)))
    columns = ("The attacker", "Attack", *DEFENCES)
    n = min(r.n for r in records if r.metric == SUCCESS)
    note = (
        "Wrong *and* accepted, then refused. Radii are Linf; C&W has none. Who attacks the collection "
        f"averages over it, on {n} images; fresh draws judge."
    )
    return f"{note}\n\n" + markdown_table(Table("", columns, tuple(rows)))


def _published(records: "list[Record]") -> str:
    blind = {r.attack: r for r in _attacks(records, OBLIVIOUS, BOTH)}
    bare = {r.attack: r for r in _attacks(records, OBLIVIOUS, BARE)}
    reformed = {r.attack: r for r in _attacks(records, OBLIVIOUS, REFORMER)}
    rows = []
    for name, (values, _) in PUBLISHED.items():
        own, alone = blind[name], reformed[name]
        rows.append(
            (
                name,
                ", ".join(f"{value:.3f}" for value in values),
                f"{bare[name].extra['right']:.3f}",
                f"{alone.extra['right']:.3f}",
                f"{own.extra['right']:.3f}",
                f"{1 - own.value:.3f}",
            )
        )
    columns = (
        "Attack on the classifier", "published, A to D", "ours: no defence", "reformer",
        "MagNet, right", "MagNet, right or refused",
    )  # fmt: skip
    source = next(iter(PUBLISHED.values()))[1]
    return (
        markdown_table(Table("", columns, tuple(rows)))
        + f"\n\nAccuracies. Source: {source}; how refusals were counted there is not known to us, and where "
        "the detectors refuse nearly all, the two ways to count lie at opposite ends. The published rows lie "
        "outside MagNet's own claim: it was made for perturbations of small norm and an attacker who does "
        "not know it. Our classifier is none of those four, and the autoencoders are trained anew: no number "
        "of ours has to agree with theirs."
    )


def _worst(records: "list[Record]") -> "Record":
    return max(records, key=lambda r: r.value)


def _follows(records: "list[Record]") -> str:
    """Claims, each by its interval."""
    blind = _worst(_attacks(records, OBLIVIOUS, BOTH))
    through = _worst(_attacks(records, STACK, REFORMER))
    passed = _worst(_attacks(records, STACK, BOTH))
    aware = max(_attacks(records, AWARE, BOTH), key=lambda r: r.eps or 0.0)
    lines = [
        f"- *Who does not know MagNet*: at worst {blind.attack} is wrong and accepted on {_rate(blind)}.",
        f"- *Who knows the reformer*: {through.attack} succeeds on {_rate(through)} of the reformer alone, "
        f"and at worst on {_rate(passed)} of both, which refuse {percent(passed.extra['refused'])}.",
        f"- *Who knows the detectors too* succeeds on {_rate(aware)} ({aware.attack}): "
        f"{_above(aware, passed)} who knows the reformer alone, and {_above(aware, blind)} who knows "
        "nothing.",
    ]
    lines += [_beside(records, name, aware) for name in (DETECTORS, DIVERGENCES, COLLECTION)]
    return "\n".join([*lines, _honest(records)])


def _above(one: "Record", other: "Record") -> str:
    """How two rates lie to each other, by their intervals."""
    if (one.low or 0.0) > (other.high or 1.0):
        return "**more often than**"
    if (one.high or 1.0) < (other.low or 0.0):
        return "**less often than**"
    return "not distinguishably from"


def _beside(records: "list[Record]", name: str, aware: "Record") -> str:
    """One variant against the same attacker at the same radius."""
    own = next(r for r in _attacks(records, AWARE, name) if r.eps == aware.eps)
    any_draw = own.extra["on any draw"]
    draws = (
        f" (on any of {own.config['looks']} draws: {percent(any_draw)})"
        if name == COLLECTION
        else ""
    )
    return (
        f"- *{name}*, against the same attacker at {own.eps:g}: {_rate(own)} of {own.n}{draws}, "
        f"{_above(own, aware)} {BOTH}."
    )


def _honest(records: "list[Record]") -> str:
    config = records[0].config
    return (
        f"\nThe attacker who knows the detectors spends {config['aware']} gradients on each of "
        f"{config['rounds']} weights; what it does not reach is no evidence that nobody can."
    )


def drawn(records: "list[Record]") -> dict[str, str]:
    """Success against MagNet by radius: oblivious PGD, through the reformer, past the detectors."""
    lines = []
    for knows, name, defence in (
        (OBLIVIOUS, OBLIVIOUS, BOTH),
        (STACK, STACK, BOTH),
        (AWARE, AWARE, BOTH),
        (STACK, "through the reformer alone", REFORMER),
    ):
        found = [r for r in _attacks(records, knows, defence) if r.eps is not None]
        found = [r for r in found if "FGSM" not in r.attack]
        columns = [(r.eps or 0.0, r.value, r.low or 0.0, r.high or 0.0) for r in found]
        x, y, low, high = zip(*sorted(columns), strict=True)
        lines.append(Series(name, x, y, low, high))
    figure = Curve(CAPTION, "Linf radius", "wrong and accepted", tuple(lines), percent=True)
    return {PICTURE: standalone(figure) + "\n"}
