"""The page of figure 5: what holds of what was claimed, the curves, the numbers, and the layers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trompe.evaluation.records import Record
from trompe.experiments.reconstruction.figure_5 import KINDS, PUBLISHED
from trompe.reports import Cell, Curve, Series, Table, markdown_table
from trompe.reports.pictures import panels
from trompe.reports.wording import number, percent

__all__ = ["Board", "boards", "drawn", "rendered", "verdicts"]

CURVES = {
    "cosine": "cosine of clean and attacked code",
    "norm ratio": "norm of the attacked code over the clean",
    "displacement": "displacement of the code",
    "diameter": "diameter of the codes",
}
THREE = (2.0, 4.0)
"""What we call about three times as wide."""
ALIKE = 2.0
"""Displacements that differ by less than this factor have a similar magnitude."""
SAME = 1.25
"""Diameters whose largest is at most this many times the smallest are about constant."""


@dataclass(frozen=True)
class Board:
    """The records of one data set, found by what they are of."""

    data: str
    records: Sequence[Record]

    @property
    def stps(self) -> list[float]:
        """The noises of the training."""
        return sorted({r.config["stp"] for r in self.records})

    def one(self, metric: str, kind: str, stp: float, layer: str | None = None) -> Record:
        """A record; without noise that of the plain kind stands for the denoising one too."""
        name = kind.removeprefix("d") if stp == 0 else kind
        return next(
            r
            for r in self.records
            if r.metric == metric
            and (r.config["kind"], r.config["stp"], r.config.get("layer")) == (name, stp, layer)
        )

    def pairs(self, metric: str, one: str, other: str) -> dict[float, Record]:
        """The differences of two kinds, at each noise at which both are there."""
        return {
            r.config["stp"]: r
            for r in self.records
            if r.metric == f"{metric} apart" and r.config["kind"] == f"{one} - {other}"
        }

    def layers(self, kind: str, stp: float) -> list[str]:
        """In the order they run; what changes nothing (a reshaping) and the code's own layer left out."""
        name = kind.removeprefix("d") if stp == 0 else kind
        some = [r for r in self.records if r.metric == "gain" and r.config["stp"] == stp
                and r.config["kind"] == name]  # fmt: skip
        values: dict[float, str] = {}
        for record in some:
            layer = str(record.config["layer"])
            if layer != "logvar":
                values.pop(record.value, None) if layer == "code" else None
                values.setdefault(record.value, layer)
        return list(values.values())


def boards(records: Iterable[Record]) -> list[Board]:
    found = list(records)
    names = dict.fromkeys(str(r.config["data"]) for r in found)
    return [Board(name, [r for r in found if r.config["data"] == name]) for name in names]


def _file(board: Board) -> str:
    return f"reconstruction-figure-5-{board.data}.svg"


def drawn(records: list[Record]) -> dict[str, str]:
    """Four panels for each data set, a line for each kind."""
    made = {}
    for board in boards(records):
        curves = []
        for metric, words in CURVES.items():
            lines = [_series(board, metric, kind) for kind in KINDS]
            curves.append(Curve(f"{board.data}: {metric}", "stp", words, tuple(lines)))
        made[_file(board)] = panels(curves) + "\n"
    return made


def _series(board: Board, metric: str, kind: str) -> Series:
    found = [board.one(metric, kind, stp) for stp in board.stps]
    value = tuple(r.value for r in found)
    low = tuple(r.value if r.low is None else r.low for r in found)
    high = tuple(r.value if r.high is None else r.high for r in found)
    return Series(kind.upper(), tuple(board.stps), value, low, high)


# ----------------------------------------------------------------------------------- claims


def _verdict(true: Sequence[bool], false: Sequence[bool]) -> str:
    """Of several comparisons, each settled one way, the other, or not at all."""
    if all(true):
        return "holds"
    if all(false):
        return "does not hold"
    if any(true) and any(false):
        return "is mixed"
    return "is unresolved"


def _apart(board: Board, metric: str, one: str, other: str) -> tuple[str, str]:
    """Whether `one` has less of a metric than the other at every noise, and by how much."""
    found = board.pairs(metric, one, other)
    less = [r.high is not None and r.high < 0 for r in found.values()]
    more = [r.low is not None and r.low > 0 for r in found.values()]
    gaps = "; ".join(f"stp {stp:g}: {_interval(r, signed=True)}" for stp, r in found.items())
    return _verdict(less, more), gaps


def _interval(record: Record, *, signed: bool = False) -> str:
    sign = "+" if signed and record.value > 0 else ""
    if record.low is None or record.high is None:
        return f"{sign}{number(record.value)}"
    return f"{sign}{number(record.value)} [{number(record.low)}, {number(record.high)}]"


def verdicts(board: Board) -> dict[str, str]:
    """The paper's claims about codes, and whether each holds."""
    times = PUBLISHED["AE over VAE"][0]
    return {
        "an AE's codes lie wider than a VAE's": _wider(board),
        f"about {times:g} times as wide": _about_three(board),
        "wider with more noise for DAE": _grows(board),
        "not so for DVAE": _constant(board),
        "the cosine is nearer to one for AE than for VAE": _apart(board, "turn", "ae", "vae")[0],
        "and so is the ratio of norms": _apart(board, "stretch", "ae", "vae")[0],
        "DVAE displaces codes less than VAE": _apart(board, "displacement", "dvae", "vae")[0],
    }


def _widths(board: Board, kind: str) -> dict[float, Record]:
    return {stp: board.one("diameter", kind, stp) for stp in board.stps}


def _noisy(board: Board, kind: str) -> list[Record]:
    """Diameters at the noises of the training, with that of none where there are less than two others."""
    widths = _widths(board, kind)
    noisy = [width for stp, width in widths.items() if stp > 0]
    return noisy if len(noisy) > 1 else list(widths.values())


def _wider(board: Board) -> str:
    pairs = _zipped(_widths(board, "ae"), _widths(board, "vae"))
    wider = [(a.low or 0) > (v.high or 0) for a, v in pairs]
    return _verdict(wider, [(a.high or 0) < (v.low or 0) for a, v in pairs])


def _ratios(board: Board) -> dict[float, float]:
    """How many times as wide as a VAE's an AE's codes lie, at each noise."""
    pairs = _zipped(_widths(board, "ae"), _widths(board, "vae"))
    return {stp: a.value / v.value for stp, (a, v) in zip(board.stps, pairs, strict=True)}


def _about_three(board: Board) -> str:
    three = [THREE[0] <= ratio <= THREE[1] for ratio in _ratios(board).values()]
    return _verdict(three, [not t for t in three])


def _grows(board: Board) -> str:
    widths = _noisy(board, "dae")
    first, last = widths[0], widths[-1]
    rises, falls = (last.low or 0) > (first.high or 0), (last.high or 0) < (first.low or 0)
    return _verdict([rises], [falls])


def _constant(board: Board) -> str:
    return "holds" if _swing(_noisy(board, "dvae")) <= SAME else "does not hold"


def _wide(board: Board) -> list[str]:
    """The claims about the diameter."""
    times, where = PUBLISHED["AE over VAE"]
    each = ", ".join(f"{ratio:.1f} at stp {stp:g}" for stp, ratio in _ratios(board).items())
    dae, dvae = _noisy(board, "dae"), _noisy(board, "dvae")
    noises = board.stps[-len(dae) :]
    none = _interval(_widths(board, "ae")[board.stps[0]])
    return [
        f"An AE's codes lie wider than a VAE's: **{_wider(board)}**. About {times:g} times as wide ({where}; "
        f"we call {THREE[0]:g} to {THREE[1]:g} about three): **{_about_three(board)}**, {each}.",
        f"The diameter grows with the noise for DAE: **{_grows(board)}** from stp {noises[0]:g} to "
        f"{noises[-1]:g}: {', '.join(map(_interval, dae))}; without noise {none}.",
        f"It stays about constant for DVAE (we ask for a factor of {SAME:g} at most between all noises): "
        f"**{_constant(board)}**, a factor of {_swing(dvae):.2f}; for DAE it is {_swing(dae):.2f}.",
    ]


def _zipped(one: dict[float, Record], other: dict[float, Record]) -> list[tuple[Record, Record]]:
    return [(one[s], other[s]) for s in one]


def _swing(records: Iterable[Record]) -> float:
    values = [r.value for r in records]
    return max(values) / min(values)


def _steady(board: Board) -> list[str]:
    """The claims about angle and length, in both readings, and about the displacement."""
    lines = []
    for metric, words in (("turn", "turns less (one less the cosine)"),
                          ("stretch", "keeps its length better (size of the ratio's logarithm)"),
                          ("relative displacement", "moves less for its length")):  # fmt: skip
        parts = []
        for one, other in (("ae", "vae"), ("dae", "dvae")):
            verdict, gaps = _apart(board, metric, one, other)
            parts.append(f"{one.upper()} against {other.upper()} **{verdict}** ({gaps})")
        lines.append(f"Under attack a deterministic code {words}: {'; '.join(parts)}.")
    spread = []
    for metric in ("cosine", "norm ratio"):
        span = {k: _span(board.one(metric, k, s).value for s in board.stps) for k in ("ae", "vae")}
        steadier = "AE" if span["ae"] < span["vae"] else "VAE"
        spread.append(
            f"the {metric} over {number(span['ae'])} for AE and {number(span['vae'])} for VAE "
            f"(steadier: {steadier})"
        )
    lines.append(f"Read as steadiness from noise to noise, means range {' and '.join(spread)}.")
    verdict, gaps = _apart(board, "displacement", "dvae", "vae")
    lines.append(f"DVAE displaces codes less than VAE: **{verdict}** ({gaps}).")
    ratios = [
        board.one("displacement", "ae", s).value / board.one("displacement", "vae", s).value
        for s in board.stps
    ]
    alike = [1 / ALIKE < ratio < ALIKE for ratio in ratios]
    lines.append(
        "That displacements of AE and VAE have a similar magnitude, which the paper gives as its reason (we "
        f"ask for a factor below {ALIKE:g}), **{_verdict(alike, [not a for a in alike])}**: the AE's are "
        f"{min(ratios):.1f} to {max(ratios):.1f} times the VAE's."
    )
    return lines


def _span(values: Iterable[float]) -> float:
    some = list(values)
    return max(some) - min(some)


# ---------------------------------------------------------------------------------- numbers


def _numbers(board: Board) -> str:
    """Every kind at every noise."""
    metrics = ("success", "length", "cosine", "norm ratio", "displacement", "diameter",
               "share of the diameter", "local Lipschitz", "largest ratio")  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for kind in KINDS:
        for stp in board.stps:
            if stp == 0 and kind.startswith("d"):
                continue
            found = [board.one(metric, kind, stp) for metric in metrics]
            rows.append((kind.upper(), f"{stp:g}", found[0].n, *map(_interval, found)))
    heads = (m[0].upper() + m[1:] for m in metrics)
    return markdown_table(Table("", (board.data, "stp", "n", *heads), tuple(rows)))


def _layers(board: Board) -> str:
    """How many times as far as noise the perturbation gets at each layer."""
    rows: list[tuple[Cell, ...]] = []
    names: list[str] = []
    for stp in (board.stps[0], board.stps[-1]):
        for kind in KINDS:
            if stp == 0 and kind.startswith("d"):
                continue
            names = board.layers(kind, stp)
            found = [board.one("relative gain", kind, stp, layer) for layer in names]
            rows.append((kind.upper(), f"{stp:g}", *map(_interval, found)))
    return markdown_table(Table("", (board.data, "stp", *names), tuple(rows)))


def _why(board: Board) -> str:
    """Where on the way to the code the attack parts from noise: the layer of the largest factor."""
    where: dict[str, list[str]] = {}
    ends = []
    for stp in board.stps:
        for kind in KINDS:
            if stp == 0 and kind.startswith("d"):
                continue
            names = board.layers(kind, stp)
            gains = [board.one("relative gain", kind, stp, layer).value for layer in names]
            steps = [b / a for a, b in zip([1.0, *gains], gains, strict=False)]
            where.setdefault(names[steps.index(max(steps))], []).append(f"{kind.upper()} {stp:g}")
            ends.append(gains[-1])
    most = "; ".join(f"`{layer}` in {len(who)} ({', '.join(who)})" for layer, who in where.items())
    return (
        f"On {board.data} the attack arrives at the code {min(ends):.1f} to {max(ends):.1f} times as strong "
        f"as noise of its length. The layer that adds the largest factor is {most}."
    )


def _hurt(board: Board) -> str:
    """Whether accuracy only begins to fall at this radius."""
    rates = [r.value for r in board.records if r.metric == "success"]
    return (
        f"At this radius the attack succeeds on {percent(min(rates))} to {percent(max(rates))} of images: "
        f"accuracy {'begins to fall' if max(rates) < 0.5 else 'has fallen far for some'}."
    )


def _how(records: list[Record]) -> str:
    c = records[0].config
    return (
        f"The {c['n']} first test images, of which those count that the stack reads correctly; the "
        f"paper's attack (c = 1, {c['steps']} steps) through the mean code at eps {c['eps']:g} (Linf): the "
        "smallest change that succeeds, and where none does the one of the best margin. The paper picks one "
        "radius per data set, where accuracy begins to fall, and its text names none: ours is the same for "
        "all. Intervals are normal 95%, for other images and not for other trainings; claims about pairs of "
        "models are on the same images, and hold where every interval says so. Of a diameter, the exact "
        f"maximum over {c['wide']} test codes, the brackets are the range of {c['sets']} disjoint sets. "
        "*Local Lipschitz*: the largest singular value of the Jacobian of the mean code; *largest ratio*: "
        f"the largest stretch that a search found within {c['near']:g} (L2) and the box. Without noise, DAE "
        "is AE and DVAE is VAE."
    )


def rendered(records: list[Record]) -> str:
    """The item's part of the page."""
    parts = [_how(records)]
    for board in boards(records):
        claims = [*_wide(board), *_steady(board)]
        parts += [
            f"### Codes on {board.data}",
            _hurt(board),
            "\n".join(f"- {claim}" for claim in claims),
            f"![Codes under attack against training noise on {board.data}](pictures/{_file(board)})",
            _numbers(board),
            "**Why** (what the paper leaves open): gain of the perturbation at each layer, in units of the "
            "gain of random noise of equal length.",
            _layers(board),
            _why(board),
        ]
    return "\n\n".join(filter(None, parts))
