"""The page of the open questions: what holds before which classifier and under which attack."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from trompe.experiments.reconstruction._claims import BARE, Board, Claim, Line
from trompe.experiments.reconstruction._curves_page import signed
from trompe.experiments.reconstruction.open_questions import BY, NETS
from trompe.reports import Forest, Metric, Table, markdown_table
from trompe.reports.pictures import standalone

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["PICTURE", "drawn", "held", "rendered"]

PICTURE = "reconstruction-open-questions.svg"
_PAIRS = (("ae", "dae", 0.0), ("vae", "dvae", 0.0), ("vae", "dvae", 1.0))


def _boards(records: Sequence["Record"]) -> dict[str, Board]:
    """The records before each classifier."""
    return {net: Board(r for r in records if r.config["net"] == net) for net in NETS}


def _claims(records: Sequence["Record"]) -> list[Claim]:
    """That denoising helps, and that noise does, for the mean and for samples."""
    stp, made = max(r.config["stp"] for r in records), []
    for plain, denoising, scale in _PAIRS:
        drawn_ = ", sampled," if scale else ""
        line = {kind: Line.of(kind, stp, scale=scale) for kind in (plain, denoising)}
        rival = f"{plain.upper()}{drawn_.rstrip(',')}"
        says = f"denoising: {denoising.upper()}{drawn_} withstands more than {rival}"
        made.append(Claim(says, [line[denoising]], [line[plain]]))
        none = Line.of(plain, 0.0, scale=scale)
        for kind in (plain, denoising):
            says = f"noise: {kind.upper()}{drawn_} withstands more at stp {stp:g} than at none"
            made.append(Claim(says, [line[kind]], [none]))
    return made


def _judged(boards: dict[str, Board], claim: Claim) -> Iterator[tuple[str, str, str, str]]:
    """The verdict in each setting: under which attack, before which classifier, on what."""
    for net, board in boards.items():
        for data in board.datasets:
            for by in BY:
                yield claim.verdict(board.gap(data, claim, by)), by, NETS[net], data


def held(records: Sequence["Record"]) -> dict[str, dict[str, list[str]]]:
    """Of denoising and of noise, the verdicts in the settings that the paper left open.

    Those are all but the paper's attack before a convolutional classifier.
    """
    found: dict[str, dict[str, list[str]]] = {}
    boards = _boards(records)
    for claim in _claims(records):
        about = claim.says.partition(":")[0]
        for verdict, by, net, _ in _judged(boards, claim):
            if (by, net) != (BY[0], next(iter(NETS.values()))):
                found.setdefault(about, {}).setdefault(f"{by}, {net}", []).append(verdict)
    return found


def _sentence(boards: dict[str, Board], claim: Claim) -> str:
    """In how many settings a claim holds, and which are the others."""
    found: dict[str, list[str]] = {}
    for verdict, *setting in _judged(boards, claim):
        found.setdefault(verdict, []).append(", ".join(setting))
    total = sum(map(len, found.values()))
    held = len(found.pop("holds", ()))
    rest = "".join(f"; {verdict} in: {' / '.join(where)}" for verdict, where in found.items())
    return (
        f"- {claim.says[0].upper()}{claim.says[1:]}: **holds** in {held} of {total} settings{rest}."
    )


def _columns() -> list[str]:
    return [f"{by}, {name}" for name in NETS.values() for by in BY]


def _gaps(boards: dict[str, Board], claims: Sequence[Claim], data: str) -> str:
    rows = tuple(
        (claim.says, *(signed(b.gap(data, claim, by)) for b in boards.values() for by in BY))
        for claim in claims
    )
    return markdown_table(Table("", (f"{data}, points", *_columns()), rows))


def _numbers(boards: dict[str, Board], claims: Sequence[Claim], data: str) -> str:
    """Accuracy with its interval at each radius."""
    lines = dict.fromkeys(line for c in claims for line in (*c.above, *c.below))
    rows = []
    for line in (*lines, BARE):
        for eps in (0.0, *next(iter(boards.values())).radii(data)):
            found = [b.record(data, line, by, eps) for b in boards.values() for by in BY]
            cells = (f"{100 * r.value:.1f} [{100 * r.low:.0f}, {100 * r.high:.0f}]" for r in found)  # type: ignore[operator]
            rows.append(("no defence" if line == BARE else str(line), f"{eps:g}", *cells))
    return markdown_table(Table("", (data, "eps", *_columns()), tuple(rows)))


def drawn(records: Sequence["Record"]) -> dict[str, str]:
    """The differences on the first data set: a row per claim and attack, the classifiers in it."""
    boards, rows = _boards(records), []
    data = next(iter(boards.values())).datasets[0]
    for claim in _claims(records):
        for by in BY:
            gaps = [b.gap(data, claim, by) for b in boards.values()]
            name = f"{claim.says}, {by}"
            rows.append((name, tuple(Metric(by, g.value, g.low, g.high, g.n) for g in gaps)))
    caption = f"Difference of accuracy on {data}: " + " (upper), ".join(NETS.values()) + " (lower)"
    forest = Forest(caption, "difference of accuracy", tuple(NETS.values()), tuple(rows))
    return {PICTURE: standalone(forest) + "\n"}


def rendered(records: Sequence["Record"]) -> str:
    """The item's part of the page."""
    boards, claims = _boards(records), _claims(records)
    datasets, setting = next(iter(boards.values())).datasets, records[0].config["setting"]
    how = (
        f"{records[0].n} test images of each of {', '.join(datasets)}; C&W with c = 1 and "
        f"{setting['steps']} steps, BIM and DeepFool with {setting['control']}. Differences are in points of "
        "accuracy over these radii on the same images, with 95% intervals for pairs (Agresti & Min); a claim "
        "holds where the whole interval says so. *Sampled* is judged on "
        f"{max(r.config['drawn'] for r in records)} fresh draws at the posterior's own deviation. An attack "
        "that stops at the boundary, as C&W and DeepFool do, is thrown back by them; "
        "the ladder has attackers who average over draws."
    )
    sentences = "\n".join(_sentence(boards, claim) for claim in claims)
    picture = f"![What noise and denoising gain](pictures/{PICTURE})"
    upper, lower = NETS.values()
    words = f"*On {datasets[0]}; the {upper} classifier above, the {lower} one below.*"
    tables = [
        part for d in datasets for part in (_gaps(boards, claims, d), _numbers(boards, claims, d))
    ]
    return "\n\n".join([how, sentences, picture, words, *tables])
