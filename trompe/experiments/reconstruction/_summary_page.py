"""The head of the page: each of the paper's claims in a line, from the records of all items."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from trompe.experiments.reconstruction._attacked import CONTROL, PAPER
from trompe.experiments.reconstruction._claims import BARE, Board, Claim, Figure
from trompe.experiments.reconstruction._curves_page import contractive, noise, scaled
from trompe.experiments.reconstruction.figure_6 import WORST
from trompe.reports import Table, markdown_table

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["rendered"]

Found = Mapping[str, "list[Record]"]
ABSENT = "not recorded"
KINDS = {1: ("ae", "dae"), 2: ("vae", "dvae"), 3: ("vae", "dvae"), 4: ("cae", "cvae")}
"""What each figure is about."""
WORDS = ("holds", "does not hold", "is mixed", "is unresolved")
ROWS: dict[str, tuple[tuple[int, int, str], ...]] = {
    "denoising models withstand more than their plain versions": ((1, 0, "DAE"), (2, 0, "DVAE")),
    "the most training noise makes them withstand more than none": (
        (1, 1, "AE"), (1, 2, "DAE"), (2, 1, "VAE"), (2, 2, "DVAE"),
    ),
    "sampling at the posterior's own deviation helps at the largest radius": (
        (3, 0, "VAE"), (3, 2, "DVAE"),
    ),
    "and it costs clean accuracy": ((3, 1, "VAE"), (3, 3, "DVAE")),
    "a contractive penalty helps CVAE": ((4, 2, "its mean"), (4, 4, "its samples")),
    "and gains others little": ((4, 1, "CAE"),),
}  # fmt: skip
"""Of each claim: the figure, the place among its claims, and what it is then called."""


class Half(NamedTuple):
    """The figures of the paper's attack, or those of the ladder."""

    boards: dict[int, Board]
    figures: dict[int, Figure]

    def claim(self, number: int, place: int) -> Claim:
        """One of a figure's claims."""
        return self.figures[number].claims[place]


def _paper(found: Found) -> Half:
    """Figures 1 to 4, of those that are recorded."""
    boards, figures = {}, {}
    for number, kinds in KINDS.items():
        records = found.get(f"figure_{number}")
        if records:
            shown = {3: scaled, 4: contractive}.get(number, noise)
            boards[number], figures[number] = Board(records), shown(number, kinds, records)
    return Half(boards, figures)


def _ladder(found: Found) -> Half:
    """The same under the ladder, from figure 6."""
    from trompe.experiments.reconstruction._left_page import figures

    records = found.get("figure_6")
    if not records:
        return Half({}, {})
    board = Board(records)
    made = {figure.number: figure for figure in figures(records)}
    return Half(dict.fromkeys(made, board), made)


def _told(verdicts: Iterable[tuple[str, str, str]]) -> str:
    """Verdicts, each with whom and which data sets it is about.

    >>> _told([("holds", "AE", "mnist"), ("is unresolved", "AE", "btsc"), ("holds", "AE", "digits")])
    'holds: AE (mnist, digits); is unresolved: AE (btsc)'
    """
    found: dict[str, dict[str, list[str]]] = {}
    for verdict, name, data in verdicts:
        found.setdefault(verdict, {}).setdefault(name, []).append(data)
    return "; ".join(
        f"{word}: " + ", ".join(f"{name} ({', '.join(data)})" for name, data in found[word].items())
        for word in WORDS
        if word in found
    )


def _judged(half: Half, parts: Iterable[tuple[int, Claim, str]], by: str) -> str:
    """The verdicts on claims about figures, each with what it is called."""
    return _told(
        (claim.verdict(half.boards[number].gap(data, claim, by)), name, data)
        for number, claim, name in parts
        for data in half.boards[number].datasets
    )


def _cell(half: Half, parts: Iterable[tuple[int, int, str]], by: str) -> str:
    some = [
        (number, half.claim(number, place), name)
        for number, place, name in parts
        if number in half.figures
    ]
    if by == CONTROL and some and all(claim.at == "none" for _, claim, _ in some):
        return "needs no attack"
    return _judged(half, some, by) or ABSENT


def _protects(half: Half, by: str) -> str:
    """Whether who was trained with most noise withstands more than the classifier alone."""
    some = [
        (number, Claim("", half.claim(number, 2).above, [BARE]), name)
        for number, name in ((1, "DAE"), (2, "DVAE"))
        if number in half.figures
    ]
    return _judged(half, some, by) or ABSENT


def _curves(found: Found) -> list[tuple[str, ...]]:
    paper, ladder = _paper(found), _ladder(found)
    halves = ((paper, PAPER), (paper, CONTROL), (ladder, WORST))
    protects = "with the most noise, they withstand more than the classifier alone"
    rows = [(protects, *(_protects(half, by) for half, by in halves))]
    rows += [
        (says, *(_cell(half, parts, by) for half, by in halves)) for says, parts in ROWS.items()
    ]
    return rows


def _codes(found: Found) -> list[tuple[str, ...]]:
    """The claims about codes, which are those of the paper's attack alone."""
    from trompe.experiments.reconstruction._codes_page import boards, verdicts

    told: dict[str, list[tuple[str, str, str]]] = {}
    for board in boards(found.get("figure_5", ())):
        for says, verdict in verdicts(board).items():
            told.setdefault(says, []).append((verdict, "codes", board.data))
    return [(says, _told(some), "not asked", "not asked") for says, some in told.items()]


def _open(found: Found) -> str:
    """What the paper leaves open: in how many comparisons its two main claims hold there too."""
    from trompe.experiments.reconstruction._open_page import held

    records = found.get("open_questions")
    if not records:
        return f"What the paper leaves open (a residual classifier, BIM, DeepFool): {ABSENT}."
    parts = []
    for about, settings in held(records).items():
        each = (f"{some.count('holds')} of {len(some)} ({name})" for name, some in settings.items())
        parts.append(f"that *{about}* helps holds in {', '.join(each)}")
    return f"What the paper leaves open, by comparisons: {'; '.join(parts)}."


def _how(found: Found) -> str:
    """Where the columns come from, at which scale and of how many images."""
    sources = []
    for item, records in found.items():
        if records and item.startswith(("figure", "open")):
            n = records[0].config.get("n", records[0].n)
            data = dict.fromkeys(str(r.config["data"]) for r in records)
            sources.append(
                f"{item.replace('_', ' ')}, scale `{records[0].scale}`: {n} images of {', '.join(data)}"
            )
    return (
        f"Each claim by its interval below: under the paper's attack ({PAPER} with c = 1, through the mean), "
        f"under {CONTROL} through the same mean, and in the worst case of each image over the attacker's "
        "ladder; over all radii together where no other is named, on the same images. Intervals are 95% "
        "each, for other images and not for other trainings: every network was trained once, and nothing is "
        "corrected for how many claims there are. *Is mixed*: so at one noise, and the reverse at another. "
        f"From {'; '.join(sources)}."
    )


def rendered(found: Found) -> str:
    """A line for each claim."""
    rows = [*_curves(found), *_codes(found)]
    if all(cell == ABSENT for row in rows for cell in row[1:]):
        return ""
    columns = (
        "Claim",
        f"The paper's attack, {PAPER}",
        f"{CONTROL}, through the mean",
        f"The worst of {WORST}",
    )
    table = markdown_table(Table("", columns, tuple(rows)))
    return "\n\n".join(["## What this adds up to", _how(found), table, _open(found)])
