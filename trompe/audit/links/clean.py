"""The first part of a link's audit: how reliable it is while nobody attacks."""

from trompe import zoo
from trompe.audit.links.bench import ENOUGH, Bench
from trompe.audit.links.numbers import db, metric_of, rate, series
from trompe.audit.part import Part, severity
from trompe.evaluation.block_error import gain_db
from trompe.reports import Curve, Finding, Metric, Section, measured
from trompe.reports.wording import number

__all__ = ["CALM", "examine"]

CALM = "Nobody attacks: there is the channel's own noise."
_HAMMING = "Hamming (7,4), most likely codeword"
_LOSSES = (6.0, 3.0, 1.0, 0.3)  # dB behind the code


def examine(bench: Bench) -> Part:
    """Block errors over Eb/N0, beside Hamming's code where n and k are its own."""
    part = Part()
    for snr, count in bench.clean.items():
        record = count.record(
            subject=bench.name, threat=CALM, seed=bench.plan.seed, extra={"snr": snr}
        )
        part.records.append(record)
        part.metrics.append(metric_of(record, f"clean block error rate at {snr:g} dB"))
    behind = _behind(bench)
    if behind is not None:
        part.metrics.append(Metric(_lag(behind), behind, unit="dB", better="lower", threat=CALM))
    part.findings.append(_finding(bench, behind))
    part.sections.append(_section(bench))
    if bench.clean[bench.reference].errors < ENOUGH:
        part.untested.append(
            f"Comparisons at a level where errors are frequent: at {db(bench.reference)} there were "
            f"{bench.clean[bench.reference].errors} in {bench.clean[bench.reference].blocks} blocks; give "
            "--snr lower levels, or --blocks more."
        )
    return part


def _lag(behind: float) -> str:
    return "Eb/N0 that the link needs beyond Hamming (7,4)"


def _behind(bench: Bench) -> float | None:
    """How many dB more than the code the link needs for its rate at the reference; None if unknown."""
    count = bench.clean[bench.reference]
    if not bench.hamming or not count.errors:
        return None
    lag = gain_db(bench.clean, bench.hamming, count.rate)
    return lag if lag == lag else None


def _finding(bench: Bench, behind: float | None) -> Finding:
    count, snr = bench.clean[bench.reference], bench.reference
    head = f"At an Eb/N0 of {db(snr)} {bench.name} loses {rate(count)} of its blocks."
    detail = ""
    if behind is not None:
        code, link = ("less", "more") if behind >= 0 else ("more", "less")
        detail = (
            "Hamming's (7,4) code, decoded to the most likely codeword, loses as many with "
            f"{db(abs(behind))} {code}: the link needs that much {link}."
        )
    level = "info" if behind is None else severity(behind, _LOSSES)
    interval = measured(metric_of(count.record(), ""))
    return Finding(level, head, detail, CALM, interval)


def _section(bench: Bench) -> Section:
    link = bench.link
    channel = "white Gaussian noise" if link.fading == "none" else f"{link.fading} fading"
    text = (
        f"{bench.name} sends {link.bits} bits in {link.uses} channel uses, {number(link.rate)} bits a use, "
        f"over {channel}{_trained(bench.plan.comms)}; a block is one of {link.messages} messages, and is "
        "lost where the receiver names "
        f"another. Each point stands on at least {ENOUGH} errors or on {bench.blocks:,} blocks; a curve "
        "ends with its first point of fewer errors, and a point without any is an upper bound."
    )
    lines = [series(bench.name, bench.clean)]
    lines += [series(_HAMMING, bench.hamming)] if bench.hamming else []
    figure = Curve(
        "Block errors without an attacker",
        "Eb/N0, dB",
        "block error rate",
        tuple(lines),
        log_y=True,
        note="Wilson 95% intervals.",
        threat=CALM,
    )
    return Section(f"How reliable is {bench.name}?", text, (figure,))


def _trained(spec: str) -> str:
    """How long a link of the zoo was trained, as its error rate hangs on it."""
    if not zoo.is_radio(spec):
        return ""
    stages = zoo.radio_named(spec).stages
    return f", and was trained in {sum(stage.steps for stage in stages):,} steps"
