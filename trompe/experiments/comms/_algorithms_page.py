"""The page of `comms/algorithms`: everybody at every power, and who is ahead."""

from typing import TYPE_CHECKING

from trompe.experiments.comms._links import DIRECT, JAMMING, Attack
from trompe.experiments.comms._page import difference, rate, verdict
from trompe.experiments.comms.algorithms import AHEAD, PUBLISHED
from trompe.reports import Table, markdown_table
from trompe.reports.wording import number

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["ahead", "pictured", "rendered"]

Point = tuple[float, float]


class _Link:
    """The records of one link: by Eb/N0 and PSR, and by attack."""

    def __init__(self, name: str, records: "list[Record]") -> None:
        self.name = name
        self.rates: dict[Point, dict[str, Record]] = {}
        self.leads: dict[Point, dict[str, Record]] = {}
        for record in records:
            if record.subject == name:
                kind = self.leads if record.metric == AHEAD else self.rates
                at = record.extra["snr"], record.extra["psr"]
                kind.setdefault(at, {})[record.attack] = record


def _links(records: "list[Record]") -> list[_Link]:
    return [_Link(name, records) for name in dict.fromkeys(r.subject for r in records)]


def rendered(records: "list[Record]") -> str:
    """The settings; of each link its picture, its table and what follows."""
    config, links = records[0].config, _links(records)
    parts = [
        f"Links are trained on the {config['schedule']} schedule. Every attacker but jamming knows the "
        "receiver, the Eb/N0 and the power, and adds one perturbation of exactly that power to every block. "
        f"The best run of Algorithm 1 is that of {config['restarts']}, the direct optimiser keeps the best "
        f"of {Attack.starts} starts, each of {config['steps']} steps; both choose on draws of their own. "
        f"Counting ends at {config['errors']} errors or {config['blocks']:,} blocks; brackets are Wilson 95% "
        "intervals, those of differences are for pairs of the same messages and noise."
    ]
    for link in links:
        parts += [f"### {link.name}", f"![{_caption(link)}](pictures/{_file(link)})", _table(link)]
    parts += ["### Is the direct optimiser at least as strong?", *map(_claims, links)]
    return "\n\n".join(parts)


def _caption(link: _Link) -> str:
    return f"Block error rate of {link.name} over the power, at {_most(link):g} dB"


def _file(link: _Link) -> str:
    return f"comms-algorithms-{link.name}.svg"


def _most(link: _Link) -> float:
    """The Eb/N0 at which most powers were measured."""
    levels = [snr for snr, _ in link.rates]
    return max(levels, key=levels.count)


def _table(link: _Link) -> str:
    rows = []
    for (snr, psr), found in link.rates.items():
        for attack, record in found.items():
            told = PUBLISHED.get((link.name, attack, snr, psr))
            lead = difference(link.leads.get((snr, psr), {}).get(attack))
            published = number(told[0], 2) if told else None
            rows.append((f"{snr:g}", f"{psr:g}", attack, rate(record), lead, published))
    columns = (
        *("Eb/N0, dB", "PSR, dB", "Attack", "Block error rate (blocks)"),
        *("Direct less this (pairs)", "Published"),
    )
    sources = dict.fromkeys(source for _, source in PUBLISHED.values())
    return markdown_table(Table("", columns, tuple(rows))) + f"\n\nPublished: {'; '.join(sources)}."


def ahead(leads: "dict[str, Record]") -> tuple[bool, bool]:
    """Whether the direct optimiser is ahead of every algorithm at a point, and whether behind one."""
    rivals = [r for name, r in leads.items() if name != JAMMING]
    holds = all(r.low is not None and r.low >= 0 for r in rivals)
    return holds, any(r.high is not None and r.high < 0 for r in rivals)


def _claims(link: _Link) -> str:
    """That it is at least as strong as both algorithms, point by point, and how close the closest comes."""
    lines = [f"{link.name}: that it is at least as strong as every run of both algorithms"]
    for (snr, psr), leads in link.leads.items():
        rivals = {name: r for name, r in leads.items() if name != JAMMING}
        near = min(rivals, key=lambda name: rivals[name].value)
        times = link.rates[snr, psr][DIRECT].value / max(link.rates[snr, psr][near].value, 1e-300)
        lines.append(
            f"- at {snr:g} dB, PSR {psr:g} dB {verdict(*ahead(leads))}: the closest is {near}, "
            f"{difference(rivals[near])} behind, a ratio of {number(times, 3)}."
        )
    verdicts = [ahead(leads) for leads in link.leads.values()]
    overall = verdict(all(holds for holds, _ in verdicts), any(fails for _, fails in verdicts))
    lines.append(f"- At every point: {overall}.")
    return "\n".join([lines[0] + ":", "", *lines[1:]])


def pictured(records: "list[Record]") -> dict[str, str]:
    """Block error rate over PSR, a curve for each attack."""
    from trompe.reports.radio import ErrorCurve, error_curves

    drawn = {}
    for link in _links(records):
        snr = _most(link)
        curves: dict[str, list[tuple[float, float, float, float]]] = {}
        for (level, psr), found in sorted(link.rates.items()):
            for attack, r in found.items() if level == snr else ():
                curves.setdefault(attack, []).append((psr, r.value, r.low or 0.0, r.high or 0.0))
        shown = [ErrorCurve(name, tuple(points)) for name, points in curves.items()]
        drawn[_file(link)] = error_curves(shown, x="PSR, dB", title=_caption(link)) + "\n"
    return drawn
