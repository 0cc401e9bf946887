"""The page of `autoencoder_robustness/damage`: who moves codes and outputs furthest, at equal gradients."""

from trompe.evaluation.records import Record
from trompe.experiments.autoencoder_robustness.damage import PLAIN
from trompe.reports import Table, markdown_table

__all__ = ["rendered", "verdicts"]

WAYS = (
    "noise",
    "singular direction",
    PLAIN,
    "two random starts",
    "singular start",
    "longer search",
)


def _cells(records: list[Record]) -> dict[tuple[str, str, str], dict[str, Record]]:
    """Records by what was moved, and then by the way it was done."""
    cells: dict[tuple[str, str, str], dict[str, Record]] = {}
    for record in records:
        place = record.subject, str(record.config["site"]), f"{record.norm} {record.eps:g}"
        cells.setdefault(place, {})[str(record.config["way"])] = record
    return cells


def _shown(record: Record) -> str:
    return f"{record.value:.3f} [{record.low:.3f}, {record.high:.3f}]"


def verdicts(records: list[Record], way: str) -> tuple[int, int, int]:
    """In how many cells a way is better than one random start, worse, or neither, by paired intervals."""
    better = worse = neither = 0
    for cell in _cells(records).values():
        extra = cell[way].extra
        better += extra["apart low"] > 0
        worse += extra["apart high"] < 0
        neither += extra["apart low"] <= 0 <= extra["apart high"]
    return better, worse, neither


def _sentence(records: list[Record], way: str) -> str:
    better, worse, neither = verdicts(records, way)
    shares = [
        100 * cell[way].extra["apart"] / cell[PLAIN].value for cell in _cells(records).values()
    ]
    span = f"{min(shares):+.1f}% to {max(shares):+.1f}%"
    return (
        f"- **{way}** against {PLAIN}: better in {better} of {better + worse + neither} cells, worse in "
        f"{worse}, unresolved in {neither} (paired 95% intervals); {span} of the mean damage."
    )


def _closing(records: list[Record]) -> str:
    """Whether the singular start is worth its gradients."""
    better, worse, _ = verdicts(records, "singular start")
    if better > worse and worse == 0:
        return "At this budget the singular direction is worth its gradients as a start."
    if worse > better and better == 0:
        return (
            "At this budget the singular direction is not worth its gradients as a start. The likeliest "
            "reason: the first steps of a search in a ball are a power iteration too, and they see the "
            "curvature and the box, which the Jacobian at the clean image does not."
        )
    return "Whether the singular start is worth its gradients is unresolved."


def rendered(records: list[Record]) -> str:
    """The table, and what follows from it."""
    cells = _cells(records)
    table = Table(
        "",
        ("Model", "Of", "Ball", "n", *(way[:1].upper() + way[1:] for way in WAYS)),
        tuple(
            (*place, cell[PLAIN].n, *(_shown(cell[way]) for way in WAYS))
            for place, cell in cells.items()
        ),
    )
    spent = {way: round(next(iter(cells.values()))[way].backwards / records[0].n) for way in WAYS}
    cost = ", ".join(f"{way} {count}" for way, count in spent.items())
    said = [_sentence(records, way) for way in WAYS if way != PLAIN]
    head = (
        "Mean L2 change of the code or the output, with normal 95% intervals over images. Gradients per "
        f"image: {cost}."
    )
    return "\n\n".join([head, markdown_table(table), "\n".join(said), _closing(records)])
