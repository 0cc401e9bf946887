"""The page of `comms/defenses`."""

from typing import TYPE_CHECKING

from trompe.experiments.comms._links import CLEAN, JAMMING
from trompe.experiments.comms._page import UNKNOWN, curves_of, drawn, rate, rates, ratio, verdict
from trompe.experiments.comms.defenses import (
    ADAPTIVE,
    BANK,
    BLOCK,
    CONTROL,
    KEYED,
    PLAIN,
    THREATS,
    TRANSFERRED,
    curve,
)
from trompe.reports import Table, markdown_table
from trompe.reports.wording import number

if TYPE_CHECKING:
    from trompe.evaluation.records import Record
    from trompe.experiments.comms._page import Curves, Ratio

__all__ = ["Found", "claims", "pictured", "rendered"]

SLACK = 0.1
"""A difference below this share of a rate is none."""
ATTACKS = (JAMMING, TRANSFERRED, ADAPTIVE)


class Found:
    """The records by defence, attack and place."""

    def __init__(self, records: "list[Record]") -> None:
        self.curves: Curves = curves_of(records)
        self.kinds = list(dict.fromkeys(r.subject for r in records))
        self.psrs: list[float] = [float(p) for p in records[0].config["psrs"]]
        self.judged = float(records[0].config["judged"])
        self.paired = {
            (r.subject, r.extra.get("psr"), str(r.config["than"])): r
            for r in records
            if "than" in r.config
        }

    def at(
        self, kind: str, psr: float | None, attack: str, snr: float | None = None
    ) -> "Record | None":
        """A point, or None where a curve has ended or was not measured."""
        points = self.curves.get(curve(kind, psr, attack), {})
        return points.get(self.judged if snr is None else snr)

    def times(self, one: tuple[str, str], other: tuple[str, str], psr: float) -> "Ratio":
        """How many times the errors of (defence, attack) one has than the other, where all is judged."""
        if one[0] not in self.kinds or other[0] not in self.kinds:
            return UNKNOWN
        return ratio(self.at(one[0], psr, one[1]), self.at(other[0], psr, other[1]))


def rendered(records: "list[Record]") -> str:
    """Pictures, what is left to each attacker, claims, and every number."""
    found = Found(records)
    parts = [_head(records, found), _shown(found)]
    for psr in found.psrs:
        parts += [f"### At PSR {psr:g} dB and {found.judged:g} dB", _left(found, psr)]
    parts += [claims(found), "### Block error rates without an attack", _rates(found, None, CLEAN)]
    for psr in found.psrs:
        for name in ATTACKS:
            parts += [f"### {name.capitalize()}, PSR {psr:g} dB", _rates(found, psr, name)]
    parts += ["### Who attacks", _threats(), "### Who found the worst", _tried(records)]
    return "\n\n".join(parts)


def _head(records: "list[Record]", found: Found) -> str:
    config = records[0].config
    how = config["defences"][0]
    return (
        f"{how['radio']['name']}, {how['radio']['schedule']} schedule, seed {how['radio']['seed']}. Training "
        f"against PSR {how['psr']:g} dB takes up the undefended radio and goes through the same schedule "
        f"again. Averaging is over {how['turns']} rotations that all know: phases up to {how['phase']:g} "
        f"radians either way, or tilts of about {how['tilt']:g} in random directions. "
        "A key turns every block by a rotation of its own, uniform at random: white noise looks the same "
        "after it, perturbations arrive turned. They are fitted at "
        f"{found.judged:g} dB, the direct optimiser from {config['restarts']} starts of {config['steps']} "
        "steps; the worst is chosen on noise, and under a key, that nobody is measured with. A point ends at "
        f"{config['errors']} errors or {config['blocks']:,} blocks, a curve with its first point of fewer "
        "errors. All that is measured meets the same messages and noise; brackets are 95% intervals, then "
        "the blocks sent."
    )


def _file(psr: float | None) -> str:
    return "comms-defenses-clean.svg" if psr is None else f"comms-defenses-psr{psr:g}.svg"


def _title(psr: float | None) -> str:
    return "Without an attack" if psr is None else f"Who knows the defence, at PSR {psr:g} dB"


def _shown(found: Found) -> str:
    return "\n".join(f"![{_title(psr)}](pictures/{_file(psr)})" for psr in (None, *found.psrs))


def pictured(records: "list[Record]") -> dict[str, str]:
    """The adaptive attack on every defence, and all of them without an attack."""
    found, pictures = Found(records), {}
    for psr in (None, *found.psrs):
        names = {curve(kind, psr, CLEAN if psr is None else ADAPTIVE): kind for kind in found.kinds}
        pictures[_file(psr)] = drawn(found.curves, names, title=_title(psr))
    return pictures


def _left(found: Found, psr: float) -> str:
    """What each attacker makes of each defence."""
    rows: list[tuple[str | None, ...]] = []
    for kind in found.kinds:
        worst = found.at(kind, psr, ADAPTIVE)
        times = found.times((PLAIN, ADAPTIVE), (kind, ADAPTIVE), psr) if kind != PLAIN else None
        points = [rate(found.at(kind, psr, name)) for name in (JAMMING, TRANSFERRED)]
        rows.append((kind, *points, rate(worst), str(times) if times else None))
    columns = ("Defence", JAMMING, TRANSFERRED, ADAPTIVE, "undefended / defended, adaptive")
    return markdown_table(Table("", columns, tuple(rows)))


def _rates(found: Found, psr: float | None, name: str) -> str:
    return rates(found.curves, {curve(kind, psr, name): kind for kind in found.kinds})


def _threats() -> str:
    return markdown_table(Table("", ("Curve", "The attacker"), tuple(THREATS.items())))


def _tried(records: "list[Record]") -> str:
    """The error rates by which the adaptive attacker chose."""
    rows, names = {}, dict[str, None]()
    for r in records:
        if tried := r.config.get("tried"):
            rows[r.subject, r.extra["psr"]] = tried
            names |= dict.fromkeys(tried)
    cells = tuple(
        (kind, f"{psr:g}", *(number(tried[n], 2) if n in tried else None for n in names))
        for (kind, psr), tried in rows.items()
    )
    return markdown_table(Table("", ("Defence", "PSR, dB", *names), cells))


# ------------------------------------------------------------------------------- claims


def claims(found: Found) -> str:
    """What follows for each defence, at the first power."""
    psr = found.psrs[0]
    lines = []
    for kind in found.kinds:
        if kind != PLAIN:
            lines += [_gained(found, kind, psr), _costs(found, kind), _flattering(found, kind, psr)]
    if CONTROL in found.kinds:
        trained = [kind for kind in (BANK, BLOCK) if kind in found.kinds]
        lines += [_of_gradients(found, kind, psr) for kind in trained]
    if KEYED in found.kinds:
        lines.append(_no_more_than_jamming(found, psr))
    head = "Differences are of block error rates, block by block on the same noise."
    return "\n".join(["### What follows", "", head, "", *lines])


def _difference(record: "Record") -> str:
    low, high = record.low or 0.0, record.high or 0.0
    return f"{number(record.value, 2)} [{number(low, 2)}, {number(high, 2)}], {record.n:,} blocks"


def _gained(found: Found, kind: str, psr: float) -> str:
    record = found.paired[kind, psr, PLAIN]
    times = found.times((PLAIN, ADAPTIVE), (kind, ADAPTIVE), psr)
    told = verdict((record.high or 0) < 0, (record.low or 0) >= 0)
    return (
        f"- **{kind}**: that it leaves the attacker who knows it fewer errors than the undefended link, at "
        f"PSR {psr:g} dB and {found.judged:g} dB, {told}: {_difference(record)}; the undefended link errs "
        f"{times} times as often."
    )


def _costs(found: Found, kind: str) -> str:
    record = found.paired[kind, None, PLAIN]
    told = verdict((record.low or 0) > 0, (record.high or 0) <= 0)
    snr = record.extra["snr"]
    times = ratio(found.at(kind, None, CLEAN, snr), found.at(PLAIN, None, CLEAN, snr))
    return (
        f"  That it costs errors without an attack, at {snr:g} dB, {told}: {_difference(record)}; it errs "
        f"{times} times as often."
    )


def _flattering(found: Found, kind: str, psr: float) -> str:
    record = found.paired[kind, psr, TRANSFERRED]
    told = verdict((record.low or 0) > 0, (record.high or 0) <= 0)
    times = found.times((kind, ADAPTIVE), (kind, TRANSFERRED), psr)
    return (
        f"  That a perturbation of the undefended link flatters it {told}: one of its own does {times} times "
        f"as much, {_difference(record)}."
    )


def _of_gradients(found: Found, kind: str, psr: float) -> str:
    times = found.times((CONTROL, ADAPTIVE), (kind, ADAPTIVE), psr)
    return (
        f"- That training along gradients ({kind}) leaves fewer errors than training in random directions of "
        f"the same power {verdict(times.low > 1, times.high < 1)}: random directions leave {times} times as "
        "many."
    )


def _no_more_than_jamming(found: Found, psr: float) -> str:
    record, jammed = found.paired[KEYED, psr, JAMMING], found.at(KEYED, psr, JAMMING)
    rest = (
        f"than jamming of the same power, within {SLACK:.0%} of what jamming does, "
        f"at PSR {psr:g} dB and {found.judged:g} dB,"
    )
    if jammed is None or not jammed.value:
        return (
            f"- That under a secret key the best perturbation does no more {rest} was not measured."
        )
    value, low, high = (
        (end or 0.0) / jammed.value for end in (record.value, record.low, record.high)
    )
    return (
        f"- That under a secret key the best perturbation does no more {rest} "
        f"{verdict(high <= SLACK, low > SLACK)}: it does {value:+.1%} [{low:+.1%}, {high:+.1%}], "
        f"{record.n:,} blocks."
    )
