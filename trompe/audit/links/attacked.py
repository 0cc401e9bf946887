"""The second part of a link's audit: what each attacker does at one level of noise, and with what power."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from trompe.audit.links.attackers import ATTACKERS, JAMMING, Attacker
from trompe.audit.links.bench import Bench
from trompe.audit.links.checks import diagnosed, verdict
from trompe.audit.links.numbers import crossing, db, metric_of, passing, rate, series, shown, times
from trompe.audit.part import Part, severity
from trompe.evaluation.block_error import Count
from trompe.evaluation.records import Record
from trompe.reports import (
    Block,
    Cell,
    Constellation,
    Curve,
    Finding,
    Metric,
    Section,
    Table,
    measured,
)
from trompe.reports.wording import number

__all__ = ["examine"]

_TIMES = (30.0, 10.0, 3.0, 1.5)  # as many block errors as jamming causes
_SPARED = (15.0, 10.0, 5.0, 0.0)  # dB below the link's own power that are enough
_DRAWN = 64  # messages, beyond which a constellation is a cloud
_MOST = 0.5  # a block error rate that nobody calls tenfold of anything
_SAID = {
    "white box": "An attacker who knows {name}",
    "white box, unsynchronised": "An attacker who knows {name} and cannot time its blocks",
    "black box": "An attacker who has only a substitute for {name}",
    "black box, unsynchronised": (
        "An attacker who has only a substitute for {name} and cannot time its blocks"
    ),
}


@dataclass(frozen=True)
class _View:
    """The numbers at the reference Eb/N0."""

    bench: Bench

    @property
    def clean(self) -> Count:
        return self.bench.clean[self.bench.reference]

    @property
    def jamming(self) -> dict[float, Count]:
        return self.bench.swept["jamming"]

    @cached_property
    def names(self) -> list[str]:
        return [who.name for who in self.bench.attackers]

    def rate(self, who: str, psr: float) -> Count:
        return self.bench.swept[who][psr]

    def beyond(self, who: str, psr: float) -> float:
        """How many dB more power jamming needs to lose as many blocks; infinite where no power tried does."""
        told = {level: count.rate for level, count in self.jamming.items()}
        wanted = self.rate(who, psr).rate
        found = crossing(told, wanted)
        return math.inf if math.isnan(found) and wanted > max(told.values()) else found - psr

    def worst(self, who: str) -> float:
        """The power, of those asked for, at which an attacker exceeds jamming most."""
        return max(
            self.bench.plan.psr, key=lambda psr: times(self.rate(who, psr), self.jamming[psr])
        )


def examine(bench: Bench) -> Part:
    """What one vector for all messages does at each power, by what its sender knows, beside jamming."""
    part, view = Part(), _View(bench)
    for who in bench.attackers:
        _measured(view, who.name, who.threat, part)
        part.findings.append(_finding(view, who))
    _measured(view, "jamming", JAMMING, part)
    _received(view, part)
    if "white box" in view.names:
        part.findings.append(_tenfold(view, part))
    part.sections.append(_section(view))
    checks = diagnosed(bench)
    part.doctor += checks
    part.verdicts.append(verdict(bench.name, checks))
    part.untested += [*bench.refused, *_untested(bench)]
    return part


def _measured(view: _View, name: str, threat: str, part: Part) -> None:
    bench = view.bench
    for psr in bench.plan.psr:
        where = f"PSR {psr:g} dB, Eb/N0 {bench.reference:g} dB"
        record = view.rate(name, psr).record(
            subject=bench.name,
            attack=name,
            threat=threat,
            seed=bench.plan.seed,
            extra={"snr": bench.reference, "psr": psr},
        )
        part.records.append(record)
        part.metrics.append(metric_of(record, f"block error rate, {name}, {where}"))
        gain = math.nan if name == "jamming" else view.beyond(name, psr)
        if math.isfinite(gain):
            title = f"gain over jamming, {name}, {where}"
            part.metrics.append(Metric(title, gain, unit="dB", better="lower", threat=threat))


def _received(view: _View, part: Part) -> None:
    """What `--fail-under` judges: the share that arrives under whoever does most."""
    for psr in view.bench.plan.psr:
        worst = max((*view.names, "jamming"), key=lambda name: view.rate(name, psr).rate)
        count = view.rate(worst, psr)
        record = Record.rate("blocks received", count.blocks - count.errors, count.blocks)
        name = f"{view.bench.name}: blocks received at PSR {psr:g} dB"
        threat = JAMMING if worst == "jamming" else _who(worst).threat
        ends = record.low, record.high
        part.metrics.append(
            Metric(name, record.value, *ends, record.n, "", "higher", record.interval, threat)
        )


def _who(name: str) -> Attacker:
    return next(who for who in ATTACKERS if who.name == name)


def _finding(view: _View, who: Attacker) -> Finding:
    """Where the attacker exceeds jamming most."""
    bench, psr = view.bench, view.worst(who.name)
    count, jam = view.rate(who.name, psr), view.jamming[psr]
    more = times(count, jam)
    head = (
        f"{_SAID[who.name].format(name=bench.name)} raises its block error rate from {rate(view.clean)} to "
        f"{rate(count)} with a PSR of {db(psr)}; jamming of that power raises it to {rate(jam)}."
    )
    way, _ = bench.chosen(who, psr)
    gain = view.beyond(who.name, psr)
    detail = (
        f"That is {_fold(times(count, view.clean))} times the clean rate and {_fold(more)} times"
    )
    detail += f" jamming's, at an Eb/N0 of {db(bench.reference)}."
    if math.isfinite(gain) and gain > 0:
        detail += f" Jamming needs {db(gain)} more power to do as much."
    if math.isinf(gain):
        beyond = max(view.jamming) - psr
        detail += f" Jamming does not do as much with {db(beyond)} more power."
    detail += f" Of the ways to find the vector the strongest on other draws was: {way}."
    interval = measured(metric_of(count.record(), ""))
    return Finding(severity(more, _TIMES), head, detail, who.threat, interval)


def _tenfold(view: _View, part: Part) -> Finding:
    """The power that makes errors ten times as many."""
    bench, clean, threat = view.bench, view.clean.record(), ATTACKERS[0].threat
    if not view.clean.errors or 10 * view.clean.rate > _MOST:
        head = f"The power that makes block errors of {bench.name} ten times as many is not known."
        return Finding("info", head, f"Without an attacker {rate(view.clean)} are lost.", threat)
    targets = [10 * value for value in (clean.value, clean.low or 0.0, clean.high or 1.0)]
    found = passing(bench.swept["white box"], targets)
    jam = passing(view.jamming, targets).level
    if math.isnan(found.level):
        low, high = bench.powers[0], bench.powers[-1]
        head = (
            f"No power between {number(low)} and {db(high)} is where block errors of {bench.name} become ten "
            "times as many."
        )
        below = view.rate("white box", low).rate > targets[0]
        return Finding(
            "critical" if below else "info", head, "It is less." if below else "", threat
        )
    about = f"PSR that makes block errors tenfold, white box, Eb/N0 {bench.reference:g} dB"
    told = Metric(about, found.level, unit="dB", better="higher", threat=threat)
    if not math.isnan(found.low + found.high):
        told = replace(told, low=found.low, high=found.high, interval="ends of all intervals")
    part.metrics.append(told)
    head = f"A PSR of {db(found.level)} is enough to make block errors of {bench.name} ten times as many."
    detail = "" if math.isnan(jam) else f"Jamming needs {db(jam)}."
    return Finding(severity(-found.level, _SPARED), head, detail, threat, measured(told))


def _section(view: _View) -> Section:
    bench = view.bench
    text = (
        f"Attackers add one vector to every block of {bench.name} at an Eb/N0 of {db(bench.reference)}, "
        f"where {rate(view.clean)} of the blocks are lost without one. PSR is the vector's energy over that "
        "of a block, in dB. Each attacker searches in several ways, and sends the strongest by draws that "
        "are not reported here."
    )
    blocks: list[Block] = [_table(view), _figure(view), *_drawn(view)]
    return Section(f"What does one vector do to {bench.name}?", text, tuple(blocks))


def _table(view: _View) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for psr in view.bench.plan.psr:
        for name in (*view.names, "jamming"):
            count, jam = view.rate(name, psr), view.jamming[psr]
            own = name == "jamming"
            gain = None if own else _decibels(view.beyond(name, psr))
            way = "" if own else view.bench.chosen(_who(name), psr)[0]
            against = None if own else _fold(times(count, jam))
            rows.append((f"{db(psr)}, {name}", shown(count), against, gain, way))
    columns = ("PSR, attacker", "block error rate", "times jamming's", "gain, dB", "found by")
    return Table(
        "Attackers side by side",
        columns,
        tuple(rows),
        "Wilson 95% intervals. The gain is the power that jamming needs beyond the attacker's to lose as "
        "many blocks.",
    )


def _drawn(view: _View) -> list[Constellation]:
    """What is sent, and the vector of whoever knows most at the middle one of the powers."""
    bench = view.bench
    if not bench.attackers:
        return []
    who, psr = bench.attackers[0], bench.plan.psr[(len(bench.plan.psr) - 1) // 2]
    seen = bench.link.messages <= _DRAWN
    with torch.no_grad():
        words = tuple(map(tuple, bench.link.codebook().tolist())) if seen else ()
    return [
        Constellation(
            f"What is sent, and where the vector of the {who.name} moves it at a PSR of {db(psr)}",
            bench.link.uses,
            words,
            tuple(bench.interference(who, psr).delta[0].detach().tolist()),
            bench.link.channel_at(bench.reference).deviation,
            f"Discs: one deviation of the noise at {db(bench.reference)}." if seen else "",
            who.threat,
        )
    ]


def _fold(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"


def _decibels(gain: float) -> str | None:
    if math.isinf(gain):
        return "beyond what was tried"
    return None if math.isnan(gain) else number(gain, 2)


def _figure(view: _View) -> Curve:
    bench = view.bench
    lines = [series(name, bench.swept[name]) for name in (*view.names, "jamming")]
    return Curve(
        f"Block errors over the attacker's power, at an Eb/N0 of {db(bench.reference)}",
        "PSR, dB",
        "block error rate",
        tuple(lines),
        log_y=True,
        note="Wilson 95% intervals. Between the powers that were learned at, the nearest vector is scaled.",
    )


def _untested(bench: Bench) -> list[str]:
    found = []
    if bench.substitute is None:
        found.append(
            "A black-box attacker: a substitute of so many messages takes too long to train."
        )
    else:
        found.append(
            "Other substitutes: one was trained, and how far chance helped it is not known."
        )
    return found
