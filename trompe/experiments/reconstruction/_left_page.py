"""The page of `reconstruction/figure_6`: what the ladder leaves of what the paper's attack leaves."""

from typing import TYPE_CHECKING

from trompe.experiments.reconstruction._attacked import PAPER
from trompe.experiments.reconstruction._claims import BARE, Board, Claim, Figure, Line
from trompe.experiments.reconstruction._curves_page import contractive, noise, scaled
from trompe.experiments.reconstruction._ladder_page import points, rate
from trompe.experiments.reconstruction.figure_6 import WORST
from trompe.reports import Forest, Metric, Table, markdown_table
from trompe.reports.pictures import standalone
from trompe.reports.wording import percent

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["drawn", "figures", "rendered"]

CLEAN = "clean"


def _lines(records: "list[Record]") -> list[Line]:
    """Every curve once, the bare classifier's first."""
    about = [r.config for r in records]
    return list(dict.fromkeys(Line(c["kind"], c["stp"], c["weight"], c["scale"]) for c in about))


def figures(records: "list[Record]") -> tuple[Figure, ...]:
    """Figures 1 to 4, of the noises and weights that were measured here."""
    config = records[0].config
    plain = [r for r in records if not r.config["weight"] and r.config["stp"] in config["noises"]]
    tight = [r for r in records if r.config["stp"] == config["noise"]]
    return (
        noise(1, ("ae", "dae"), plain),
        noise(2, ("vae", "dvae"), plain),
        scaled(3, ("vae", "dvae"), plain),
        contractive(4, ("cae", "cvae"), tight),
    )


def _sentence(board: Board, claim: Claim) -> str:
    """Where a claim holds under the paper's attack, and where under the ladder."""
    if claim.at == "none":
        return f"- {claim.says[0].upper()}{claim.says[1:]}: {_where(board, claim, PAPER)}."
    return (
        f"- {claim.says[0].upper()}{claim.says[1:]}: under {PAPER} {_where(board, claim, PAPER)}; under "
        f"{WORST} {_where(board, claim, WORST)}."
    )


def _where(board: Board, claim: Claim, by: str) -> str:
    found: dict[str, list[str]] = {}
    for data in board.datasets:
        gap = board.gap(data, claim, by)
        found.setdefault(claim.verdict(gap), []).append(f"{data} ({points(gap)})")
    return ", ".join(f"**{verdict}** on {' and '.join(on)}" for verdict, on in found.items())


def _left(board: Board, lines: list[Line], data: str) -> str:
    """What is left of the protection at the largest radius, over all defences and of the best."""
    from trompe.evaluation.records import Record

    eps, defended = board.radii(data)[-1], [line for line in lines if line != BARE]
    paper, worst = (board.right(data, defended, by, [eps]) for by in (PAPER, WORST))
    bare = board.right(data, [BARE], WORST, [eps])
    best = max(defended, key=lambda line: board.record(data, line, WORST, eps).value)
    gain = Record.difference("gain", board.right(data, [best], WORST, [eps]), bare)
    left = rate(board.record(data, best, WORST, eps))
    return (
        f"- {data}, eps {eps:g}: on average over the {len(defended)} defences {PAPER} leaves "
        f"{percent(float(paper.mean()))} standing, the ladder {percent(float(worst.mean()))}: the paper's "
        f"attack overstates them by {points(Record.difference('gap', paper, worst))}. "
        f"The best under the ladder, chosen on these images, is {best} with {left}, {points(gain)} more than "
        "the classifier alone."
    )


def rendered(records: "list[Record]") -> str:
    """Words, pictures, numbers."""
    board, lines, config = Board(records), _lines(records), records[0].config
    n = min(r.n for r in records)
    still, draws = config["effort"], config["random"]
    head = (
        f"{n} images of each data set. *{PAPER}* is the paper's attack through the mean, with c = 1 and 100 "
        f"steps; *{WORST}* is the worst case of each image over the ladder's rungs, of which each meets what "
        f"still stands, with {still['share']:g} of their steps where nothing is drawn, and "
        f"{draws['share']:g} and {draws['draws']} draws in each gradient elsewhere: an upper bound on what a "
        f"stronger attack would leave. Who draws is judged on {config['looks']} fresh draws. Differences are "
        "paired image by image, with 95% intervals for other images and not for other trainings."
    )
    parts = [head, "**What is left of the protection.**"]
    parts += ["\n".join(_left(board, lines, data) for data in board.datasets)]
    parts += ["**The claims of figures 1 to 4.**"]
    claims = (claim for figure in figures(records) for claim in figure.claims)
    parts += ["\n".join(_sentence(board, claim) for claim in claims)]
    for data in board.datasets:
        parts += [f"![What is left on {data}](pictures/{_file(data)})", _table(board, lines, data)]
    return "\n\n".join(parts)


def _table(board: Board, lines: list[Line], data: str) -> str:
    radii = board.radii(data)
    rows = [
        (
            _name(line),
            rate(board.record(data, line, "", 0.0)),
            *(rate(board.record(data, line, by, eps)) for eps in radii for by in (PAPER, WORST)),
        )
        for line in lines
    ]
    columns = (data, CLEAN, *(f"{by}, eps {eps:g}" for eps in radii for by in (PAPER, WORST)))
    return markdown_table(Table("", columns, tuple(rows)))


def _name(line: Line) -> str:
    return "no defence" if line == BARE else str(line)


def _file(data: str) -> str:
    return f"reconstruction-figure-6-{data}.svg"


def drawn(records: "list[Record]") -> dict[str, str]:
    """Clean, under the paper's attack, and what is left, line by line."""
    board, lines, made = Board(records), _lines(records), {}
    for data in board.datasets:
        eps = board.radii(data)[-1]
        rows = []
        for line in lines:
            found = {CLEAN: board.record(data, line, "", 0.0)}
            found |= {by: board.record(data, line, by, eps) for by in (PAPER, WORST)}
            marks = [Metric(k, r.value, r.low, r.high, r.n, "rate") for k, r in found.items()]
            rows.append((_name(line), tuple(marks)))
        figure = Forest(
            f"What is left on {data}", f"accuracy at Linf {eps:g}", (CLEAN, PAPER, WORST), tuple(rows),
            percent=True,
        )  # fmt: skip
        made[_file(data)] = standalone(figure) + "\n"
    return made
