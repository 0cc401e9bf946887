"""The page of `comms/black_box`."""

from typing import TYPE_CHECKING

from trompe.experiments.comms._links import (
    ARRIVALS,
    CLEAN,
    DIRECT,
    ITERATIVE,
    JAMMING,
    PRINCIPAL,
    SYNCHRONISED,
    VECTOR,
    at_psr,
)
from trompe.experiments.comms._page import (
    beside,
    costs,
    curves_of,
    drawn,
    rate,
    rates,
    ratio,
    verdict,
)
from trompe.experiments.comms.black_box import (
    BLIND,
    CEILING,
    LOST,
    MORE,
    PREPARED,
    PUBLISHED,
    READY,
    SENT,
    THREATS,
    WORST,
)
from trompe.reports import Table, markdown_table
from trompe.reports.wording import number, percent

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["claims", "pictured", "rendered"]

MET = (JAMMING, ITERATIVE, PRINCIPAL, LOST, DIRECT, VECTOR, CEILING)
DRAWN = (JAMMING, PRINCIPAL, LOST, DIRECT, CEILING)
REACHED = (0.3, 1e-1, 1e-2, 1e-3, 1e-4)
"""Block error rates at which gains are read off."""
Place = tuple[float, str, str]
"""A PSR, an attacker, a form of arrival."""


def rendered(records: "list[Record]") -> str:
    """Pictures, claims, published points, arrivals, gains, and every number."""
    curves, powers = curves_of(records), _powers(records)
    parts = [
        _head(records),
        "\n".join(f"![{_title(psr)}](pictures/{_file(psr)})" for psr in powers),
        claims(records),
        "### Beside the published points",
        beside(curves, {name: told for name, told in PUBLISHED.items() if name in curves}),
        "### How it arrives",
    ]
    for psr, snr in powers.items():
        parts += [f"At PSR {psr:g} dB and Eb/N0 {snr:g} dB:", _forms(records, psr)]
    told = costs(curves, powers, MET[1:], REACHED)
    parts += ["### What an attack costs, in dB of Eb/N0", told]
    parts += ["### Block error rates", "Brackets are 95% intervals, then the blocks sent."]
    parts += [rates(curves, {CLEAN: CLEAN})]
    for psr in powers:
        parts += [f"At PSR {psr:g} dB:", rates(curves, {at_psr(psr, name): name for name in MET})]
    table = markdown_table(Table("", ("Curve", "The attacker"), tuple(THREATS.items())))
    return "\n\n".join([*parts, "### Who attacks", table])


def _powers(records: "list[Record]") -> dict[float, float]:
    """Each PSR with the Eb/N0 at which arrivals are compared."""
    return {r.extra["psr"]: r.extra["snr"] for r in records if "arrival" in r.config}


def _title(psr: float) -> str:
    return f"The black-box attack at PSR {psr:g} dB"


def _file(psr: float) -> str:
    return f"comms-black-box-psr{psr:g}.svg"


def _head(records: "list[Record]") -> str:
    config = records[0].config
    victim, own = config["victim"], config["substitute"]
    (snr, psr), learned = config["fitted"], config["learned"]
    return (
        f"{victim['name']}, {victim['schedule']} schedule, seed {victim['seed']}; the substitute is "
        f"{own['name']}, seed {own['seed']}, trained on messages and noise of its own. One pair of links is "
        "luck: other pairs are under `comms/ten_models`. "
        f"A point ends at {config['errors']} errors or {config['blocks']:,} blocks, a curve with its first "
        f"point of fewer errors. On the substitute {PRINCIPAL} and the direct optimiser hear Eb/N0 "
        f"{learned:g} dB; {ITERATIVE} is run at {snr:g} dB and PSR {psr:g} dB, {config['restarts']} times, "
        "and scaled. All that is measured together meets the same messages and noise."
    )


# ------------------------------------------------------------------------------- claims


def _placed(records: "list[Record]", metric: str) -> "dict[Place, Record]":
    return {
        (r.extra["psr"], r.attack, str(r.config["arrival"])): r
        for r in records
        if "arrival" in r.config and r.metric == metric
    }


def claims(records: "list[Record]") -> str:
    """Who beats jamming, what timing is worth, and how far the ceiling is."""
    more, at = _placed(records, MORE), _placed(records, "block error rate")
    lines: list[str] = []
    for psr, snr in _powers(records).items():
        where = f"PSR {psr:g} dB, {snr:g} dB"
        lines += [
            _beats(where, f"{name} ({form})", more[psr, name, form])
            for name, form in (
                (PRINCIPAL, SYNCHRONISED), (PRINCIPAL, WORST), (ITERATIVE, SYNCHRONISED),
                (DIRECT, SYNCHRONISED), (PREPARED, WORST), (VECTOR, SYNCHRONISED), (READY, WORST),
            )
        ]  # fmt: skip
        lines += [f"- {where}: {told}" for told in _timing(at, psr)]
        lines += _luck(records, psr, at)
    return "\n".join(["### What follows", "", *lines])


def _timing(at: "dict[Place, Record]", psr: float) -> list[str]:
    """What it is worth to know when a block begins, without knowing the victim and with."""
    forms = [form for form in ARRIVALS if form != SYNCHRONISED]
    jammed = at[psr, JAMMING, SYNCHRONISED]
    lines = []
    for name, ready in ((PRINCIPAL, PREPARED), (CEILING, READY)):
        known = at[psr, name, SYNCHRONISED]
        told = "; ".join(f"{ratio(at[psr, name, form], known)} ({form})" for form in forms)
        lines.append(
            f"errors of {name} when it is not synchronised, over those when it is: {told}."
        )
        told = "; ".join(f"{ratio(at[psr, ready, form], jammed)} ({form})" for form in forms)
        lines.append(f"errors of {ready}, over those of jamming: {told}.")
    above = ratio(at[psr, CEILING, SYNCHRONISED], jammed)
    return [*lines, f"who knows the victim makes {above} times the errors of jamming."]


def _beats(where: str, who: str, found: "Record") -> str:
    """Whether an attacker misleads more blocks than jamming."""
    low, high = found.low or 0.0, found.high or 0.0
    ends = f"{number(found.value, 2)} [{number(low, 2)}, {number(high, 2)}] in the rate"
    told = verdict(low > 0, high <= 0)
    return (
        f"- {where}: that {who} beats jamming, block by block, {told}: {ends}, {found.n:,} blocks."
    )


def _luck(records: "list[Record]", psr: float, at: "dict[Place, Record]") -> list[str]:
    """Where what a substitute yields lies among directions that were drawn blindly."""
    found = next(r for r in records if r.metric == BLIND and r.extra["psr"] == psr)
    rates, jammed = found.config["rates"], at[psr, JAMMING, SYNCHRONISED]
    low, high = number(found.low or 0.0, 2), number(found.high or 0.0, 2)
    where = f"PSR {psr:g} dB, {found.extra['snr']:g} dB"
    beaten = "; ".join(
        f"{name} {_above(rates, at[psr, name, SYNCHRONISED].value)}" for name in (JAMMING, *SENT)
    )
    return [
        f"- {where}: jamming draws a direction for each block, so that its rate, {rate(jammed)}, is the mean "
        f"of those of fixed ones: {number(found.value, 2)} [{low}, {high}] of {found.n} drawn blindly, whose "
        f"median is {number(rates[len(rates) // 2], 2)}. Of these, err less often than: {beaten}."
    ]


def _above(rates: list[float], value: float) -> str:
    """How many rates a value exceeds, with the interval of that share."""
    from trompe.evaluation.records import wilson

    below = sum(rate < value for rate in rates)
    low, high = wilson(below, len(rates))
    return f"{below} of {len(rates)} [{percent(low, 0)}, {percent(high, 0)}]"


def _forms(records: "list[Record]", psr: float) -> str:
    """Attackers as rows, forms of arrival as columns; and whether each beats jamming."""
    at, more = _placed(records, "block error rate"), _placed(records, MORE)
    rows: list[tuple[str | None, ...]] = []
    for name in (JAMMING, *SENT, PREPARED, CEILING, READY):
        cells = []
        for form in ARRIVALS:
            told = rate(at.get((psr, name, form)))
            gap = more.get((psr, name, form))
            cells.append(f"{told}, {_word(gap)}" if told and gap else told)
        rows.append((name, *cells))
    note = "*Above* and *below* are beyond the paired 95% interval of the difference from jamming."
    return note + "\n\n" + markdown_table(Table("", ("Sent", *ARRIVALS), tuple(rows)))


def _word(gap: "Record") -> str:
    if (gap.low or 0.0) > 0:
        return "above"
    return "below" if (gap.high or 0.0) < 0 else "alike"


# ----------------------------------------------------------------------------- pictures


def pictured(records: "list[Record]") -> dict[str, str]:
    """The curves of each power, by file."""
    curves = curves_of(records)
    published = {name: told for name, told in PUBLISHED.items() if not name.endswith(LOST)}
    return {
        _file(psr): drawn(
            curves,
            {CLEAN: CLEAN} | {at_psr(psr, name): name for name in DRAWN},
            published,
            _title(psr),
        )
        for psr in _powers(records)
    }
