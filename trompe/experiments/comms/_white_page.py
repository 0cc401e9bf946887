"""The page of `comms/white_box`."""

import math
from typing import TYPE_CHECKING

from trompe.experiments.comms._links import CLEAN, DIRECT, JAMMING, at_psr
from trompe.experiments.comms._page import (
    Curves,
    Ratio,
    beside,
    costs,
    curves_of,
    drawn,
    rates,
    ratio,
    verdict,
    within,
)
from trompe.experiments.comms.white_box import BEST, CODES, ONE, PUBLISHED, RUNS, THREATS
from trompe.reports import Table, markdown_table
from trompe.reports.wording import number

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["claims", "pictured", "rendered"]

FIVE = 5.0
"""How many times as many errors as jamming an attack is asked for."""
AT = (-6.0, 8.0)
"""The PSR and the Eb/N0 at which it is asked for, in dB."""
REACHED = (0.3, 1e-1, 1e-2, 1e-3, 1e-4)
"""Block error rates at which gains are read off."""
MET = (JAMMING, ONE, BEST, DIRECT)


def rendered(records: "list[Record]") -> str:
    """Pictures, claims, published points, gains, and every number."""
    curves, psrs = curves_of(records), _psrs(records)
    parts = [
        _head(records), _pictures(records), claims(records),
        "### Beside the published points", beside(curves, _asked(curves)),
        "### What an attack costs, in dB of Eb/N0", costs(curves, psrs, MET[1:], REACHED),
        "### Block error rates", "Brackets are 95% intervals, then the blocks sent.",
        "Without an attack:", rates(curves, {name: name for name in (CLEAN, *CODES)}),
    ]  # fmt: skip
    for psr in psrs:
        parts += [f"At PSR {psr:g} dB:", rates(curves, {at_psr(psr, name): name for name in MET})]
    return "\n\n".join([*parts, "### Who attacks", _threats()])


def _psrs(records: "list[Record]") -> list[float]:
    return list(
        dict.fromkeys(r.extra["psr"] for r in records if r.config.get("curve") and r.attack)
    )


def _asked(curves: Curves) -> "dict[str, tuple[tuple[tuple[float, float], ...], str]]":
    """The published curves that were measured here."""
    return {name: told for name, told in PUBLISHED.items() if name in curves}


def _head(records: "list[Record]") -> str:
    config = records[0].config
    victim, (snr, psr) = config["victim"], config["fitted"]
    return (
        f"{victim['name']}, {victim['schedule']} schedule, seed {victim['seed']}: one training. A point ends "
        f"at {config['errors']} errors or {config['blocks']:,} blocks, a curve with its first point of fewer "
        f"errors. {ONE}: 10 draws at Eb/N0 {snr:g} dB and PSR {psr:g} dB, then scaled to each power; {BEST}: "
        f"of {config['restarts']}. The direct optimiser takes {config['steps']} steps from each of "
        f"{config['starts']} starts, for each power and Eb/N0 anew. Where a point was published, all are "
        f"counted to {config['enough']:,} errors. All that is measured together meets the same messages and "
        "noise."
    )


def _pictures(records: "list[Record]") -> str:
    return "\n".join(f"![{alt}](pictures/{name})" for name, alt in _named(records).items())


def _named(records: "list[Record]") -> dict[str, str]:
    """The pictures' files and what they show."""
    found = {"comms-clean.svg": "Without an attack"}
    found |= {_file(psr): f"Under attack at PSR {psr:g} dB" for psr in _psrs(records)}
    shown = next(r for r in records if "codebook" in r.config).extra["psr"]
    found["comms-constellation.svg"] = (
        f"What is sent, and what the attack makes of it, PSR {shown:g} dB"
    )
    for name in (ONE, DIRECT):
        found[_sent_file(name)] = f"The perturbation: {name}, PSR {shown:g} dB"
    return found


def _file(psr: float) -> str:
    return f"comms-white-box-psr{psr:g}.svg"


def _sent_file(name: str) -> str:
    return f"comms-perturbation-{name.partition(',')[0].replace(' ', '-').lower()}.svg"


# ------------------------------------------------------------------------------- claims


def claims(records: "list[Record]") -> str:
    """What was asked for, and whether it is so."""
    curves, lines = curves_of(records), []
    for snr, asked in PUBLISHED[CLEAN][0][:2]:
        ours = curves[CLEAN].get(snr)
        lines.append(
            f"- That the clean link errs within a factor 2 of the published {number(asked, 2)} at {snr:g} dB "
            f"{within(ours, asked)}: {_times(ours, asked)}."
        )
    psr, snr = AT
    jammed = curves.get(at_psr(psr, JAMMING), {}).get(snr)
    for name in (ONE, BEST, DIRECT):
        times = ratio(curves.get(at_psr(psr, name), {}).get(snr), jammed)
        told = verdict(times.low >= FIVE, times.high < FIVE)
        lines.append(
            f"- That {_called(name)} makes at least {FIVE:g} times the errors of jamming at PSR {psr:g} dB "
            f"and {snr:g} dB {told}: {times} times."
        )
    lines += [_luck(r, curves) for r in records if r.metric == RUNS]
    paired = [r for r in records if "than" in r.config]
    lines += [_stronger(paired, one, other) for one, other in _pairs(paired)]
    head = "With 95% intervals; of comparisons block by block that of the difference of the rates."
    return "\n".join(["### What follows", "", head, "", *lines])


def _luck(runs: "Record", curves: Curves) -> str:
    """How far single runs of Algorithm 1 lie apart, in times jamming's rate."""
    psr, snr = runs.extra["psr"], runs.extra["snr"]
    jammed = curves[at_psr(psr, JAMMING)][snr].value
    times = [rate / jammed for rate in runs.config["rates"]] if jammed else []
    reached = sum(value >= FIVE for value in times)
    return (
        f"- What one run finds depends on its ten draws: {runs.n} runs at PSR {psr:g} dB and {snr:g} dB make "
        f"{number(min(times, default=math.nan), 2)} to {number(max(times, default=math.nan), 2)} times the "
        f"errors of jamming, {reached} of them at least {FIVE:g} times."
    )


def _times(ours: "Record | None", asked: float) -> str:
    if ours is None or ours.low is None or ours.high is None:
        return "not measured"
    return f"{Ratio(*(at / asked for at in (ours.value, ours.low, ours.high)))} times as often"


def _pairs(paired: "list[Record]") -> list[tuple[str, str]]:
    return list(dict.fromkeys((r.attack, str(r.config["than"])) for r in paired))


def _stronger(paired: "list[Record]", one: str, other: str) -> str:
    """Whether an attacker misleads at least as many blocks as another, at each power."""
    parts = []
    for r in paired:
        if (r.attack, r.config["than"]) == (one, other):
            low, high = r.low or 0.0, r.high or 0.0
            ends = f"{number(r.value, 2)} [{number(low, 2)}, {number(high, 2)}], {r.n:,} blocks"
            parts.append(f"{verdict(low >= 0, high < 0)} at {r.extra['psr']:g} dB ({ends})")
    snr = paired[0].extra["snr"]
    return (
        f"- That {_called(one)} misleads at least as often as {_called(other)}, block by block at {snr:g} "
        f"dB: {'; '.join(parts)}."
    )


def _called(name: str) -> str:
    return f"the {name} optimiser" if name == DIRECT else name


def _threats() -> str:
    return markdown_table(Table("", ("Curve", "The attacker"), tuple(THREATS.items())))


# ----------------------------------------------------------------------------- pictures


def pictured(records: "list[Record]") -> dict[str, str]:
    """Curves, constellation and stems, by file."""
    from trompe.reports.radio import constellation, stems

    curves, titles = curves_of(records), _named(records)
    clean = {name: name for name in (CLEAN, *CODES)}
    found = {"comms-clean.svg": drawn(curves, clean, PUBLISHED, titles["comms-clean.svg"])}
    for psr in _psrs(records):
        names = {CLEAN: CLEAN} | {at_psr(psr, name): name for name in MET}
        published = {name: told for name, told in PUBLISHED.items() if name != CLEAN}
        found[_file(psr)] = drawn(curves, names, published, titles[_file(psr)])
    about = next(r for r in records if "codebook" in r.config).config
    sent, uses = about["perturbations"], about["uses"]
    found["comms-constellation.svg"] = constellation(
        about["codebook"], uses, sent[DIRECT], about["deviation"], titles["comms-constellation.svg"]
    )
    for name in (ONE, DIRECT):
        found[_sent_file(name)] = stems(sent[name], uses, titles[_sent_file(name)])
    return found
