"""The page of `type_one/logit_pairing`: every network on every set, and what follows."""

from typing import TYPE_CHECKING

from trompe.experiments.type_one._shown import one, rate
from trompe.experiments.type_one._strengthened import (
    ANOTHER,
    NETWORKS,
    ORIGINAL,
    PAIRED,
    SENT_BACK,
    TRAINED,
)
from trompe.experiments.type_one.logit_pairing import (
    MADE_I,
    MADE_II,
    OWN_I,
    OWN_II,
    PICTURE,
    PUBLISHED,
    SETS,
)
from trompe.reports import Table, markdown_table

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["drawn", "rendered"]


def rendered(records: "list[Record]") -> str:
    """Tables and sentences."""
    parts = [_head(records), _accuracies(records), f"![Accuracies](pictures/{PICTURE})"]
    parts += [_of_type_two(records), _of_type_one(records)]
    return "\n\n".join([*parts, _stability(records), _sent_back(records)])


def drawn(records: "list[Record]") -> str:
    """Every accuracy with its interval, as an SVG: a line for each set, a mark for each network."""
    from trompe.reports import Forest, Metric
    from trompe.reports.pictures import standalone

    rows = []
    for images in SETS:
        found = [_accuracy(records, name, images) for name in NETWORKS]
        marks = [Metric(images, r.value, r.low, r.high, r.n, "rate") for r in found]
        rows.append((images, tuple(marks)))
    return standalone(Forest("", "accuracy", NETWORKS, tuple(rows), percent=True))


def _accuracy(records: "list[Record]", name: str, images: str) -> "Record":
    """The accuracy of a network on a set; of Type I, on the examples that count."""
    own = {"of": "counted"} if images in (MADE_I, OWN_I) else {}
    found = one(records, "accuracy", network=name, set=images, **own)
    assert found is not None
    return found


def _head(records: "list[Record]") -> str:
    c = _accuracy(records, PAIRED, MADE_II).config
    return (
        f"{c['victim']} and what further trainings make of it: {c['updates']} steps against PGD with "
        f"{c['inner']} gradients at Linf {c['eps']:g}, the radius growing over the first {c['warm']}, with "
        f"logit pairing (λ = {c['weight']:g}) or without; or {c['epochs']:g} pass over the training images "
        f"with half of those of {c['n']} Type I examples in which a judge, classifiers and not people, sees "
        f"the target and a real digit, {c['times']} times each; the images that these were made of "
        "are left out of every set but the clean one. Type II: PGD with "
        f"{c['pgd']} gradients on the original, or APGD with {c['apgd']} on the network itself (the worse "
        f"of cross-entropy and DLR), at the same radius. Type I: {c['steps']} steps; accuracy is the share "
        "read as the target of the examples that count: made on the original, those that the judge sees "
        "so and the original does not; made on the network itself, those that the judge sees so. Brackets "
        "are Wilson 95% intervals."
    )


def _accuracies(records: "list[Record]") -> str:
    columns = ["Accuracy"]
    for images in SETS:
        counts = [_accuracy(records, name, images).n for name in NETWORKS]
        columns.append(f"{images} (n = {_span(counts)})")
    rows = [
        (
            name,
            *(rate(_accuracy(records, name, i)) for i in SETS),
        )
        for name in NETWORKS
    ]
    theirs = {images: f"{value:.1%}" for images, (value, _) in PUBLISHED.items()}
    rows.append((f"published, {PAIRED}", *(theirs.get(i) for i in SETS)))
    return markdown_table(Table("", tuple(columns), tuple(rows)))


def _span(counts: "list[int]") -> str:
    """The least and the largest."""
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low}–{high}"


def _beside(record: "Record", images: str) -> str:
    """Ours beside the published number, by its interval."""
    value = PUBLISHED[images][0]
    low, high = record.low or 0.0, record.high or 1.0
    said = "below it" if high < value else "above it" if low > value else "in agreement with it"
    return f"{rate(record)}, published {value:.1%}, {said}"


def _of_type_two(records: "list[Record]") -> str:
    """What the published number measures, and what the defence is worth."""
    paired, other = (_accuracy(records, name, MADE_II) for name in (PAIRED, ANOTHER))
    own, trained = (_accuracy(records, name, OWN_II) for name in (PAIRED, TRAINED))
    return (
        "**Type II.** On examples made on the original the paired network is right on "
        f"{_beside(paired, MADE_II)}; a second network with no defence at all on {rate(other)}. That is "
        f"transfer. On attacks on itself it is right on {rate(own)}, and plain adversarial training of "
        f"equal length on {rate(trained)}: {_order(own, trained)}."
    )


def _order(one: "Record", other: "Record") -> str:
    """Which of two rates is larger, by their intervals."""
    if (one.low or 0) > (other.high or 1):
        return "pairing is the better of the two"
    if (one.high or 1) < (other.low or 0):
        return "pairing is the worse of the two"
    return "which is better is unresolved"


def _of_type_one(records: "list[Record]") -> str:
    """The claim that pairing does not help against Type I, on transferred examples and on its own."""
    made, own = (_accuracy(records, PAIRED, images) for images in (MADE_I, OWN_I))
    other, first = _accuracy(records, ANOTHER, MADE_I), _accuracy(records, ORIGINAL, MADE_I)
    return (
        "**Type I.** Claim: logit pairing does not help. On examples made on the original the paired "
        f"network is right on {_beside(made, MADE_I)}; the claim {_fails(made)}. The original, on which "
        f"they were made to fail, is right on {rate(first)}, the second network with no defence on "
        f"{rate(other)}. On examples made anew on the paired network it is right on {rate(own)}: there the "
        f"claim {_fails(own)}."
    )


def _fails(record: "Record") -> str:
    """Whether most are misread, by the interval."""
    low, high = record.low or 0.0, record.high or 1.0
    return "**holds**" if high < 0.5 else "**does not hold**" if low > 0.5 else "**is unresolved**"


def _stability(records: "list[Record]") -> str:
    """How many attacks succeed, made on the original and anew."""
    rows = []
    for name in NETWORKS:
        pair = [one(records, "over-stability", network=name, set=s) for s in (MADE_I, OWN_I)]
        rows.append((name, *map(rate, pair)))
    counts = [r.n for r in records if r.metric == "over-stability" and r.config["set"] == OWN_I]
    note = (
        "Over-stability: the judge sees the target and a real digit, and the network still gives the old "
        f"class; of all attacked images but those whose examples were sent back, {_span(counts)} of them "
        "anew. What was sent back had really changed on the original, so its rates lie below those of an "
        "attack on all images."
    )
    columns = ("Over-stability", MADE_I, OWN_I)
    return f"{markdown_table(Table('', columns, tuple(rows)))}\n\n{note}"


def _sent_back(records: "list[Record]") -> str:
    """Whether strengthening by Type I helps, against both types."""
    made, own, two = (_accuracy(records, SENT_BACK, images) for images in (MADE_I, OWN_I, OWN_II))
    return (
        "**Strengthening by Type I** (section IV-D): with half of the examples sent back the network "
        f"reads {rate(made)} of the other half as what they became. Attacked anew it is right on "
        f"{rate(own)}, and on {rate(two)} under attacks of Type II on itself: "
        + (
            "sending back one set of examples does not end the search for others."
            if (own.high or 1) < (made.low or 0)
            else "whether what it learned holds against a new search is unresolved."
            if (own.low or 0) <= (made.high or 1)
            else "new examples are read better than the old."
        )
    )
