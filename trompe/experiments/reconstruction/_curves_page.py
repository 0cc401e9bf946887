"""The pages of figures 1 to 4: what holds of what was claimed, the curves, and the numbers."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from trompe.experiments.reconstruction._attacked import CONTROL, FULL, PAPER, SAMPLED, SIGNS
from trompe.experiments.reconstruction._claims import (
    BARE,
    BY,
    LITTLE,
    Board,
    Claim,
    Figure,
    Line,
    Panel,
)
from trompe.reports import Curve, Series, Table, markdown_table
from trompe.reports.pictures import panels
from trompe.reports.wording import percent

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["contractive", "drawn", "noise", "rendered", "scaled", "signed"]

Records = Sequence["Record"]


# ----------------------------------------------------------------- what each figure shows


def noise(number: int, kinds: Sequence[str], records: Records) -> Figure:
    """Figures 1 and 2: a panel for each kind, a line for each noise of the training."""
    plain, denoising = kinds
    scale = 1.0 if plain == "vae" else 0.0
    stps = sorted({r.config["stp"] for r in records if r.config["kind"] == plain})
    line = {(kind, p): Line.of(kind, p, scale=scale) for kind in kinds for p in stps}
    noisy = [p for p in stps if p > 0]
    beats = Claim(
        f"{denoising.upper()} withstands more than {plain.upper()}",
        [line[denoising, p] for p in noisy],
        [line[plain, p] for p in noisy],
    )
    more = [
        Claim(
            f"training noise (stp {stps[-1]:g} against none) makes {kind.upper()} withstand more",
            [line[kind, stps[-1]]],
            [line[kind, stps[0]]],
        )
        for kind in kinds
    ]
    drawings = [Panel(kind.upper(), {f"stp {p:g}": line[kind, p] for p in stps}) for kind in kinds]
    ways = tuple(tuple(line[kind, p] for p in stps) for kind in kinds)
    return Figure(number, tuple(drawings), (beats, *more), ways)


def scaled(number: int, kinds: Sequence[str], records: Records) -> Figure:
    """Figure 3: a line for each scale of the deviation."""
    stp = max(r.config["stp"] for r in records)
    drawings, claims = [], []
    for kind in kinds:
        line = {s: Line.of(kind, stp, scale=s) for s in SAMPLED}
        name = f"{kind.upper()}, stp {stp:g}"
        drawings.append(Panel(name, {f"scale {s:g}": line[s] for s in SAMPLED}))
        full, mean = [line[SAMPLED[-1]]], [line[SAMPLED[0]]]
        helps = f"sampling at scale 1 helps {kind.upper()} at the largest radius"
        costs = f"sampling at scale 1 costs {kind.upper()} accuracy on clean images"
        claims += [Claim(helps, full, mean, "the largest"), Claim(costs, mean, full, "none")]
    return Figure(number, tuple(drawings), tuple(claims))


def contractive(number: int, kinds: Sequence[str], records: Records) -> Figure:
    """Figure 4: a line for each weight of the penalty; of the CVAE also its samples."""
    stp = max(r.config["stp"] for r in records)
    weights = sorted({r.config["weight"] for r in records})
    drawings, claims = [], []
    for kind, scale in ((kinds[0], 0.0), (kinds[1], 0.0), (kinds[1], 1.0)):
        line = {w: Line.of(kind, stp, w, scale) for w in weights}
        name = f"{kind.upper()}{', sampled' if scale else ''}"
        drawings.append(Panel(f"{name}, stp {stp:g}", {f"weight {w:g}": line[w] for w in weights}))
        some, none = [line[w] for w in weights if w], [line[0.0]]
        claims.append(Claim(f"the penalty helps {name} (mean over its weights)", some, none))
        little = f"the penalty gains {name} less than {100 * LITTLE:g} points"
        claims.append(Claim(little, some, none, little=True))
    return Figure(number, tuple(drawings), tuple(claims))


# ------------------------------------------------------------------------------- pictures


def _file(figure: Figure, data: str) -> str:
    return f"reconstruction-figure-{figure.number}-{data}.svg"


def _series(board: Board, data: str, by: str, name: str, line: Line) -> Series:
    radii = [0.0, *board.radii(data)]
    found = [board.record(data, line, by, eps).value for eps in radii]
    return Series(name, tuple(radii), tuple(found))


def drawn(figure: Figure, records: Records) -> dict[str, str]:
    """For each data set a row of panels per kind: the paper's attack, and PGD."""
    board, made = Board(records), {}
    for data in board.datasets:
        curves = []
        for panel in figure.panels:
            lines = {**panel.lines, "no defence": BARE}
            for by in BY:
                series = [_series(board, data, by, name, line) for name, line in lines.items()]
                caption = f"{data}: {panel.title}, {by}"
                curves.append(Curve(caption, "eps (Linf)", "accuracy", tuple(series), percent=True))
        made[_file(figure, data)] = panels(curves) + "\n"
    return made


# ---------------------------------------------------------------------------------- words


def signed(gap: "Record") -> str:
    """A difference in points, with its interval."""
    parts = (gap.value, gap.low or 0.0, gap.high or 0.0)
    middle, low, high = (f"{100 * part:+.1f}".replace("-", "\N{MINUS SIGN}") for part in parts)
    return f"{middle} [{low}, {high}]"


def _attacks(claim: Claim) -> tuple[str, ...]:
    return BY[:1] if claim.at == "none" else BY


def _sentence(board: Board, claim: Claim) -> str:
    """A claim, and where it holds under each attack."""
    parts = []
    for by in _attacks(claim):
        where: dict[str, list[str]] = {}
        for data in board.datasets:
            verdict = claim.verdict(board.gap(data, claim, by))
            where.setdefault(verdict, []).append(data)
        found = ", ".join(f"**{verdict}** on {' and '.join(on)}" for verdict, on in where.items())
        parts.append(f"under {by} it {found}" if claim.at != "none" else found)
    return f"- {claim.says[0].upper()}{claim.says[1:]}: {'; '.join(parts)}."


def _steps(figure: Figure, board: Board) -> str:
    """Which single steps of the noise go the wrong way, for what rises from end to end may fall between."""
    found = []
    for way in figure.ways:
        for before, after in pairwise(way):
            step = Claim("", [after], [before])
            for data in board.datasets:
                for by in BY:
                    gap = board.gap(data, step, by)
                    if step.verdict(gap) == "does not hold":
                        found.append(f"{before} to {after} on {data} under {by}, {signed(gap)}")
    if not figure.ways:
        return ""
    return "Single steps of the noise that cost robustness over all radii: " + (
        "; ".join(found) + "." if found else "none beyond its interval."
    )


def _singly(figure: Figure, board: Board) -> str:
    """Which lines of those that a claim takes the mean of lie above: some may help where all do not."""
    found: dict[str, list[str]] = {}
    for whole in figure.claims:
        if whole.little or len(whole.above) <= len(whole.below):
            continue
        for line in whole.above:
            one = Claim("", [line], whole.below, whole.at)
            for data in board.datasets:
                for by in BY:
                    gap = board.gap(data, one, by)
                    told = f"{line} on {data} under {by}, {signed(gap)}"
                    found.setdefault(one.verdict(gap), []).append(told)
    if not found:
        return ""
    helps, costs = (found.get(verdict, []) for verdict in ("holds", "does not hold"))
    return (
        f"Of {sum(map(len, found.values()))} comparisons of a single weight with none, over all radii, "
        f"{len(helps)} lie above zero by their intervals and {len(costs)} below; one in forty would on each "
        "side if no weight did anything" + (f". Above: {'; '.join(helps)}." if helps else ".")
    )


def _gaps(figure: Figure, board: Board) -> str:
    """The differences behind the sentences."""
    rows = []
    for claim in figure.claims:
        if claim.little:
            continue
        for data in board.datasets:
            gaps = [signed(board.gap(data, claim, by)) for by in _attacks(claim)]
            rows.append((claim.says, claim.at, data, *gaps, *[None] * (len(BY) - len(gaps))))
    return markdown_table(Table("", ("Claim", "Radii", "Data", *BY), tuple(rows)))


def _flattery(figure: Figure, board: Board) -> str:
    """How far the paper's attack stops short of the control, by data set."""
    parts = []
    for data in board.datasets:
        eps = board.radii(data)[-1]
        most = max(figure.lines, key=lambda line: board.flattery(data, [line]).value)
        left = [percent(board.record(data, most, by, eps).value) for by in BY]
        parts.append(
            f"on {data} {signed(board.flattery(data, figure.lines))} points over all curves, most for "
            f"{most}: {left[0]} against {left[1]}"
        )
    return (
        f"**What {PAPER} with c = 1 leaves standing and {CONTROL} does not**, at the largest radius: "
        f"{'; '.join(parts)}. Where this is far above zero the curves under {PAPER} show a weak attack, not "
        "a strong defence."
    )


def _numbers(figure: Figure, board: Board, data: str) -> str:
    """Every accuracy of a data set with its interval."""
    radii, rows = board.radii(data), []
    lines = {f"{p.title}, {name}": line for p in figure.panels for name, line in p.lines.items()}
    for name, line in {**lines, "no defence": BARE}.items():
        for by in BY:
            found = [board.record(data, line, by, eps) for eps in (0.0, *radii)]
            cells = (
                f"{100 * r.value:.1f} [{100 * (r.low or 0):.0f}, {100 * (r.high or 0):.0f}]"
                for r in found
            )
            rows.append((name, by, *cells))
    columns = (data, "Attack", "clean", *(f"eps {eps:g}" for eps in radii))
    return markdown_table(Table("", columns, tuple(rows)))


def _how(board: Board, records: Records) -> str:
    n = {data: next(r.n for r in records if r.config["data"] == data) for data in board.datasets}
    images = ", ".join(
        f"{count} of {data}{' at equal distances' if data in SIGNS else ''}"
        for data, count in n.items()
    )
    setting, drawn_ = records[0].config["setting"], max(r.config["drawn"] for r in records)
    judged = (
        f" Who draws is judged on {drawn_} fresh draws, and neither attack knows them; figure 6 has those "
        "who average over them."
    )
    judged = judged if drawn_ > 1 else ""
    return (
        f"The first test images: {images}; the paper has {FULL.n:,} of each, at {len(FULL.eps)} radii. Every "
        f"network was trained once. **{PAPER}** is the paper's attack, projected on the box, with c = 1 and "
        f"{setting['steps']} steps. **{CONTROL}** takes {setting['control']} steps on the margin, from a "
        f"random start, on the same images and through the same mean.{judged} Differences are "
        "in points of accuracy on the same images, over the radii named, "
        "with 95% intervals for pairs (Agresti & Min): for other images, not for other trainings. A claim "
        "holds where the whole interval says so. Intervals in the tables of accuracies are Wilson's, 95%."
    )


def rendered(figure: Figure, records: Records, published: Mapping[str, str] | None = None) -> str:
    """The item's part of the page."""
    board = Board(records)
    says = "; ".join((published or {}).values())
    parts = [f"The paper (section 5) says: {says}."] if says else []
    parts += [_how(board, records), "\n".join(_sentence(board, claim) for claim in figure.claims)]
    parts += [_gaps(figure, board), _steps(figure, board), _singly(figure, board)]
    parts += [_flattery(figure, board)]
    for data in board.datasets:
        parts.append(f"![Accuracy against eps on {data}](pictures/{_file(figure, data)})")
        parts.append(_numbers(figure, board, data))
    return "\n\n".join(filter(None, parts))
