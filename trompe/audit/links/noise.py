"""The third part of a link's audit: every attacker over all levels of noise."""

import math

from trompe.audit.links.attackers import ATTACKERS, JAMMING
from trompe.audit.links.bench import Bench, Levels
from trompe.audit.links.numbers import db, series
from trompe.audit.part import Part
from trompe.evaluation.block_error import gain_db
from trompe.reports import Cell, Curve, Metric, Section, Table

__all__ = ["examine"]

_RATE = 1e-2  # block error rate at which curves are compared


def examine(bench: Bench) -> Part:
    """Block errors over Eb/N0 at each power, and what each attacker costs the link there."""
    part, rows = Part(), []
    figures = []
    threats = {who.name: who.threat for who in ATTACKERS} | {"jamming": JAMMING}
    for psr in bench.plan.psr:
        found = bench.over_noise(psr)
        figures.append(_figure(bench, psr, found))
        for name, levels in found.items():
            cost = gain_db(levels, bench.clean, _RATE)
            rows.append(_row(psr, name, cost, levels))
            if math.isfinite(cost):
                title = f"Eb/N0 lost at a block error rate of {_RATE:g}, {name}, PSR {psr:g} dB"
                part.metrics.append(
                    Metric(title, cost, unit="dB", better="lower", threat=threats[name])
                )
            part.records += [
                count.record(
                    subject=bench.name,
                    attack=name,
                    threat=threats[name],
                    seed=bench.plan.seed,
                    extra={"snr": snr, "psr": psr},
                )
                for snr, count in levels.items()
            ]
    part.sections.append(_section(bench, rows, figures))
    return part


def _row(psr: float, name: str, cost: float, levels: Levels) -> tuple[Cell, ...]:
    last = max(levels)
    said = db(cost) if math.isfinite(cost) else f"not reached up to {db(last)}"
    if not math.isfinite(cost) and levels[last].rate < _RATE:
        said = "not known"
    return f"{db(psr)}, {name}", said


def _section(bench: Bench, rows: list[tuple[Cell, ...]], figures: list[Curve]) -> Section:
    text = (
        f"The vectors that were learned at {db(bench.reference)}, at every level of noise. What an attacker "
        f"costs is the Eb/N0 that {bench.name} needs beyond what it needs without one, to lose one block in "
        f"{1 / _RATE:.0f}."
    )
    table = Table(
        f"What it costs to lose one block in {1 / _RATE:.0f} as before",
        ("PSR, attacker", "Eb/N0 needed beyond that of the clean link"),
        tuple(rows),
    )
    return Section("Is more power against the noise a remedy?", text, (table, *figures))


def _figure(bench: Bench, psr: float, found: dict[str, Levels]) -> Curve:
    lines = [series(name, levels) for name, levels in found.items()]
    lines.append(series("no attacker", bench.clean))
    return Curve(
        f"Block errors at a PSR of {db(psr)}",
        "Eb/N0, dB",
        "block error rate",
        tuple(lines),
        log_y=True,
        note="Wilson 95% intervals.",
        marks=((bench.reference, "learned here"),),
    )
