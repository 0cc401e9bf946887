"""The page of `comms/variants`: every radio clean, jammed and attacked."""

from typing import TYPE_CHECKING

from trompe.experiments.comms._links import CLEAN, DIRECT, JAMMING
from trompe.experiments.comms._page import rate, ratio, verdict
from trompe.experiments.comms.variants import MORE
from trompe.reports import Table, markdown_table
from trompe.reports.wording import number

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["pictured", "rendered"]

WAYS = {CLEAN: "clean", JAMMING: "jammed", DIRECT: "attacked"}


class _Variant:
    """The records of one radio."""

    def __init__(self, name: str, records: "list[Record]") -> None:
        self.name = name
        own = [r for r in records if r.subject == name]
        self.bits = own[0].config["rate"]
        self.more = next(r for r in own if r.metric == MORE)
        self.curves: dict[str, dict[float, Record]] = {way: {} for way in WAYS}
        for r in own:
            if r.metric != MORE:
                self.curves[r.attack][r.extra["snr"]] = r


def _variants(records: "list[Record]") -> list[_Variant]:
    return [_Variant(name, records) for name in dict.fromkeys(r.subject for r in records)]


def rendered(records: "list[Record]") -> str:
    """The settings, all radios at one point, what follows, and the curves as numbers."""
    config, found = records[0].config, _variants(records)
    head = (
        f"Radios are trained on the {config['schedule']} schedule. The attack is the direct optimiser's, "
        f"made at {config['snr']:g} dB and PSR {config['psr']:g} dB and the same for all Eb/N0. Counting "
        f"ends at {config['errors']} errors or {config['blocks']:,} blocks, and a curve with its first point "
        "of fewer errors; brackets are Wilson 95% intervals, ratios are those of independent rates. At equal "
        "Eb/N0 a higher rate meets less noise in a channel use, and has fewer uses for a message."
    )
    pictures = [f"![{_caption(way, config['psr'])}](pictures/{_file(way)})" for way in WAYS]
    point = _point(found, config["snr"])
    return "\n\n".join([head, *pictures, point, _claims(found, config["snr"]), _numbers(found)])


def _file(way: str) -> str:
    return f"comms-variants-{WAYS[way]}.svg"


def _caption(way: str, psr: float) -> str:
    return f"Every radio {WAYS[way]}" + ("" if way == CLEAN else f" at PSR {psr:g} dB")


def _point(found: list[_Variant], snr: float) -> str:
    rows = []
    for each in found:
        at = {way: each.curves[way].get(snr) for way in WAYS}
        gain = ratio(at[DIRECT], at[JAMMING])
        rows.append((each.name, number(each.bits), *(rate(at[w]) for w in WAYS), str(gain)))
    columns = (f"At {snr:g} dB", "Bits per use", *WAYS.values(), "attacked / jammed")
    return markdown_table(Table("", columns, tuple(rows)))


def _claims(found: list[_Variant], snr: float) -> str:
    """That each is attacked more than jammed, and whether more than the first is."""
    first = found[0]
    base = ratio(first.curves[DIRECT].get(snr), first.curves[JAMMING].get(snr))
    lines = []
    for each in found:
        low, high = each.more.low or 0.0, each.more.high or 0.0
        line = (
            f"- {each.name}: that the attack does more than jamming {verdict(low > 0, high < 0)}, by "
            f"{number(each.more.value, 2)} [{number(low, 2)}, {number(high, 2)}] over the same "
            f"{each.more.n:,} blocks."
        )
        if each is not first:
            own = ratio(each.curves[DIRECT].get(snr), each.curves[JAMMING].get(snr))
            line += (
                f" That its attack gains more over jamming than that on {first.name} "
                f"{verdict(own.low > base.high, own.high < base.low)}: {own} against {base} times."
            )
        lines.append(line)
    return "\n".join(lines)


def _numbers(found: list[_Variant]) -> str:
    rows = []
    for each in found:
        levels = sorted({snr for curve in each.curves.values() for snr in curve})
        for snr in levels:
            cells = (rate(each.curves[way].get(snr)) for way in WAYS)
            rows.append((each.name, f"{snr:g}", *cells))
    return markdown_table(Table("", ("Radio", "Eb/N0, dB", *WAYS.values()), tuple(rows)))


def pictured(records: "list[Record]") -> dict[str, str]:
    """A picture for each way, a curve for each radio."""
    from trompe.reports.radio import ErrorCurve, error_curves

    found, drawn = _variants(records), {}
    for way in WAYS:
        curves = [
            ErrorCurve(
                each.name,
                tuple((snr, r.value, r.low or 0.0, r.high or 0.0) for snr, r in points.items()),
            )
            for each in found
            if (points := each.curves[way])
        ]
        title = _caption(way, records[0].config["psr"])
        drawn[_file(way)] = error_curves(curves, title=title) + "\n"
    return drawn
