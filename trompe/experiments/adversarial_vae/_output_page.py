"""The page of `adversarial_vae/output_attack`: table, pictures, verdict."""

from typing import Any

from trompe.evaluation.records import Record
from trompe.experiments.adversarial_vae.output_attack import ATTACKS
from trompe.reports import Grid, Table, markdown_table
from trompe.reports.images import png_bytes, read_png
from trompe.reports.pictures import mosaic

__all__ = ["drawn", "rendered"]

NAME = "adversarial-vae-output-attack.png"
COLUMNS = (
    "source",
    "target",
    "target reconstructed",
    *(f"{kind}, {what}" for kind in ATTACKS for what in ("adversarial", "output")),
)


def _grid(records: list[Record]) -> Grid:
    """One row for each pair, the inputs and outputs of all attacks side by side."""
    packed: dict[str, dict[str, Any]] = {
        str(r.config["attacks"]): r.config["images"] for r in records if r.config["images"]
    }
    first = packed[ATTACKS[0]]
    columns = [first["source"], first["target"], first["reachable"]]
    for kind in ATTACKS:
        columns += [packed[kind]["input"], packed[kind]["output"]]
    rows = tuple(tuple(map(read_png, row)) for row in zip(*columns, strict=True))
    return Grid("The attack on the output beside the attack on codes", COLUMNS, rows)


def drawn(records: list[Record]) -> dict[str, bytes]:
    """The grid as one picture."""
    return {NAME: png_bytes(mosaic(_grid(records)))}


def _row(r: Record) -> tuple[str, ...]:
    e = r.extra
    return (
        r.subject,
        str(r.config["attacks"]),
        f"{r.eps:g}",
        f"{e['distance']:.3f} [{e['distance low']:.3f}, {e['distance high']:.3f}]",
        f"{e['to the image']:.2f}",
        f"{e['to the reconstruction']:.2f}",
        f"{100 * r.value:.0f}% [{100 * (r.low or 0):.0f}, {100 * (r.high or 0):.0f}]",
        f"{100 * e['ignore target']:.0f}%",
        f"{e['grey']:.3f}",
    )


def _table(records: list[Record]) -> str:
    columns = (
        "Model",
        "Attack",
        "L2",
        "Relative target distance",
        "To the image",
        "To its reconstruction",
        "Read as the target",
        "Not read as the source",
        "Grey",
    )
    ordered = sorted(records, key=lambda r: (r.subject == "AE", r.eps))
    return markdown_table(Table("", columns, tuple(map(_row, ordered))))


def _claim(records: list[Record]) -> str:
    """Whether attacking the output only blurs it."""
    cells: dict[tuple[str, float], dict[str, Record]] = {}
    for r in records:
        cells.setdefault((r.subject, r.eps or 0.0), {})[str(r.config["attacks"])] = r
    nearer = greyer = read = clearly = 0
    for cell in cells.values():
        codes = cell["codes"]
        best = cell["output to image"]
        nearer += best.extra["distance"] <= codes.extra["distance"]
        greyer += best.extra["grey"] > 1.1 * codes.extra["grey"]
        read += best.value >= codes.value
        clearly += (best.low or 0) > (codes.high or 1)
    count = len(cells)
    holds = "holds" if read == 0 and greyer == count else "does not hold"
    holds = "is unresolved" if 0 < read < count and not clearly else holds
    return (
        f"That the attack on the output only blurs **{holds}** here. Of {count} models and radii, "
        f"aiming the output at the target image brings it nearer to the target than the attack on codes in "
        f"{nearer}, has it read as the target's class at least as often in {read} (in {clearly} of them "
        f"with intervals apart), and leaves it more than a tenth greyer in {greyer}. The paper's "
        "models and weights of the penalty were others, and nothing is claimed of convolutional decoders or "
        "of faces."
    )


def rendered(records: list[Record]) -> str:
    """The item's part of the page."""
    some, few = records[0], min(record.n for record in records)
    clean = {r.subject: (r.extra["grey clean"], r.extra["grey target"]) for r in records}
    greys = "; ".join(f"{kind} {a:.3f} and {b:.3f}" for kind, (a, b) in clean.items())
    how = (
        f"{some.config['pairs']} pairs, {some.config['steps']} gradients each, in an L2 ball. *Relative "
        "target distance* is 1 without an attack and 0 where the output is as near to the target as the "
        f"target's own reconstruction; its interval is over pairs. Reading counts the {few} pairs "
        f"or more whose clean reconstruction `{some.config['judge']}` reads correctly, with Wilson's "
        "interval. *Grey* of the clean reconstructions and of the targets': "
        f"{greys}."
    )
    radius = next(r.eps for r in records if r.config["images"])
    shown = f"*VAE, L2 = {radius:g}. Columns: {', '.join(COLUMNS)}.*"
    picture = f"![Sources, targets, and what each attack makes of them](pictures/{NAME})"
    return "\n\n".join([_table(records), how, picture, shown, _claim(records)])
