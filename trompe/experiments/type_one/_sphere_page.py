"""The page and pictures of `type_one/figure_3`."""

import math
from typing import Any

from trompe.evaluation.records import Record
from trompe.experiments.type_one._shown import find, one, rate
from trompe.experiments.type_one._toys import rounded
from trompe.experiments.type_one.figure_3 import (
    INWARDS,
    LEVEL,
    NULL,
    ON,
    OUTWARDS,
    PUBLISHED,
    PUBLISHED_NULL,
    SAME,
    STRAIGHT,
    WAYS,
)
from trompe.reports import Cell, Curve, Series, Table, markdown_table
from trompe.reports.pictures import standalone

__all__ = ["drawings", "rendered"]

PLANE, ANSWER = "type-one-spheres.svg", "type-one-spheres-answer.svg"


def rendered(records: list[Record]) -> str:
    """The item's part of the page."""
    shown = [
        f"![The ways to the outer sphere](pictures/{PLANE})",
        f"![What the network says on the way](pictures/{ANSWER})",
    ]
    return "\n\n".join([_network(records), _moves(records), *_claims(records), *shown])


def _network(records: list[Record]) -> str:
    """How the network was trained, and its error beside the published one."""
    (error,) = find(records, "error")
    config: dict[str, Any] = dict(error.config)
    how, (bound, where) = config["training"], PUBLISHED["error"]
    low, high = error.low or 0.0, error.high or 1.0
    verdict = "holds" if high < bound else "does not hold" if low > bound else "is unresolved"
    return (
        f"Spheres of radius 0.8 and 1 in {config['size']} dimensions; a quadratic network of "
        f"{config['hidden']} hidden units, trained on {how['steps'] * how['batch']:,} samples, each seen "
        f"once, in {how['steps']:,} steps of {how['batch']} (published: 1,000,000 of 64). Its error is "
        f"{rounded(error.value)} on {error.n:,} new samples, {error.interval} interval "
        f"[{rounded(low)}, {rounded(high)}]. An error below {bound:g} ({where}): **{verdict}**. It sees "
        f"{error.extra['rank']:.0f} directions, with weights (the alpha of equation 4) of "
        f"{error.extra['least']:.3f} to {error.extra['most']:.3f}."
    )


def _moves(records: list[Record]) -> str:
    rows: list[tuple[Cell, ...]] = []
    for name, direction in WAYS:
        found = one(records, "success", way=name, direction=direction)
        assert found is not None
        e = found.extra
        published = "100%" if (name, direction) in ((NULL, OUTWARDS), (LEVEL, OUTWARDS)) else None
        norm = f"{e['norm']:.4f} ± {e['norm deviation']:.4f}"
        kept = f"{100 * e['class kept']:.1f}%"
        drift, per = rounded(e["largest drift"]), found.backwards / found.n
        rows.append((direction, name, rate(found), published, norm, kept, drift, f"{e['distance']:.3f}",
                     f"{per:.0f}", found.n))  # fmt: skip
    columns = ("From", "Way", "Success", "Published", "Norm at the end (mean ± sd)", "Class kept",
               "Largest change of f1", "Mean distance", "Gradients", "n")  # fmt: skip
    said = (
        f"Success: the point ends within {ON:g} of the other sphere's radius, and f1 changes by less than "
        f"{SAME:g} of itself (or of one, if it is smaller)."
    )
    return "\n\n".join([said, markdown_table(Table("", columns, tuple(rows)))])


def _claims(records: list[Record]) -> list[str]:
    """What the paper claims, what its formula does, and what happens on the way back."""

    def of(name: str, direction: str) -> Record:
        found = one(records, "success", way=name, direction=direction)
        assert found is not None
        return found

    out = {name: of(name, OUTWARDS) for name in (NULL, LEVEL, STRAIGHT, PUBLISHED_NULL)}
    every = "holds" if all(out[name].value == 1 for name in (NULL, LEVEL)) else "does not hold"
    paper = (
        f"Every sample of the inner sphere can be moved to the outer one: **{every}** "
        f"({rate(out[NULL])} and {rate(out[LEVEL])} of {out[NULL].n} samples). Moved straight out, "
        f"{100 * out[STRAIGHT].extra['class kept']:.1f}% keep the class that f1 gave them."
    )
    e = out[PUBLISHED_NULL].extra
    formula = (
        "The formula as published forgets what the unseen coordinates held before: the norm ends at "
        f"{e['norm']:.3f} ± {e['norm deviation']:.3f}, and {100 * e['on the sphere']:.1f}% of the points lie "
        "on the outer sphere. The first row takes what they held into account."
    )
    back = (
        "Back from the outer sphere, of which the paper does not speak, the null space serves "
        f"{rate(of(NULL, INWARDS))} of the points, since what is seen of most is longer than 0.8 already. "
        f"The level set serves {rate(of(LEVEL, INWARDS))}: along it directions of small weight can "
        "be traded for "
        "those of large weight, as far as the weights differ."
    )
    return [paper, formula, back]


def drawings(records: list[Record]) -> dict[str, str]:
    """Both pictures as SVG."""
    ways = {name: find(records, "still called inner", way=name) for name in (STRAIGHT, NULL, LEVEL)}
    low = 0.95 * min(r.extra["seen"] for line in ways.values() for r in line)
    plane = [Series(n, _of(line, "unseen"), _of(line, "seen")) for n, line in ways.items()]
    plane = [_arc("inner sphere", 0.8, low), _arc("outer sphere", 1.0, low), *plane]
    answer = [
        Series(
            name,
            _of(line, "norm"),
            tuple(r.value for r in line),
            tuple(r.low or 0.0 for r in line),
            tuple(r.high or 0.0 for r in line),
        )
        for name, line in ways.items()
    ]
    figures = {
        PLANE: Curve(
            "The ways to the outer sphere",
            "length of what f1 does not see",
            "length of what f1 sees",
            tuple(plane),
            y_range=(low, 1.0),
        ),
        ANSWER: Curve(
            "What the network says on the way",
            "norm of the point",
            "still called inner",
            tuple(answer),
            percent=True,
        ),
    }
    return {name: standalone(figure) + "\n" for name, figure in figures.items()}


def _of(line: list[Record], part: str) -> tuple[float, ...]:
    return tuple(r.extra[part] for r in line)


def _arc(name: str, radius: float, low: float) -> Series:
    """A sphere in the plane of the two lengths, as far down as the picture reaches."""
    end = math.sqrt(max(radius**2 - low**2, 0.0))
    across = [end * place / 30 for place in range(31)]
    return Series(name, tuple(across), tuple(math.sqrt(radius**2 - x**2) for x in across))
