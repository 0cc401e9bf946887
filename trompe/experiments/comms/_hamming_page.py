"""The page of `comms/hamming`: the code beside theory, under attack, and beside the autoencoder."""

from typing import TYPE_CHECKING

from trompe.experiments.comms._links import CLEAN, DIRECT, JAMMING
from trompe.experiments.comms._page import difference, rate, ratio, verdict, within
from trompe.experiments.comms.hamming import (
    BETWEEN,
    BORROWED,
    FULL,
    HALF,
    HARD,
    ML,
    MORE,
    NEAREST,
    PUBLISHED,
    THEORY,
)
from trompe.reports import Table, markdown_table
from trompe.reports.wording import number

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["best", "pictured", "rendered"]

PICTURE = "comms-hamming.svg"
CAPTION = "Both links, clean, jammed, and each under its own best attack"
EQUAL = 1.25
"""Rates within this factor are about equal."""
RATE = "block error rate"
Point = tuple[float, float]


def rendered(records: "list[Record]") -> str:
    """Clean, under attack, side by side."""
    together = [r for r in records if r.config.get("side by side")]
    attacked = [r for r in records if "share" in r.extra]
    clean = [r for r in records if r not in together and r not in attacked]
    sources = dict.fromkeys(source for _, source in PUBLISHED.values())
    return "\n\n".join(
        [
            "Hamming's (7, 4) code, sent as BPSK. Brackets are Wilson 95% intervals with the blocks counted; "
            f"ratios are those of independent rates. Published: {'; '.join(sources)}.",
            *("### Clean", _clean(clean)),
            *("### Under attack", _attacked(attacked)),
            *("### Side by side at equal power", _side_by_side(together)),
        ]
    )


def _by(records: "list[Record]", *keys: str) -> "dict[tuple[object, ...], Record]":
    """Records by these fields or extras of theirs."""
    return {tuple(r.extra[k] if k in r.extra else getattr(r, k) for k in keys): r for r in records}


# --------------------------------------------------------------------------- clean


def _clean(records: "list[Record]") -> str:
    found = _by(records, "metric", "subject", "snr")
    levels = sorted({r.extra["snr"] for r in records})
    rows, bounded, near = [], [], []
    for snr in levels:
        soft, hard = (found[RATE, name, snr] for name in (ML, HARD))
        bound, exact = (found[THEORY[name], name, snr].value for name in (ML, HARD))
        told = PUBLISHED.get((ML, CLEAN, snr))
        published = number(told[0], 2) if told else None
        theory = number(bound, 3), number(exact, 3)
        rows.append((f"{snr:g}", rate(soft), theory[0], rate(hard), theory[1], published))
        bounded.append(soft.low is not None and soft.low <= bound)
        near.append(
            hard.low is not None and hard.high is not None and hard.low <= exact <= hard.high
        )
    columns = (
        *("Eb/N0, dB", "Maximum likelihood", "Union bound", "Hard decision", "Closed form"),
        "Published, maximum likelihood",
    )
    lines = [
        "- That maximum likelihood stays below the union bound of the weight enumerator "
        f"{verdict(all(bounded), not all(bounded))}, at each of {len(levels)} levels; at the highest its "
        f"rate is {number(soft.value / bound, 2)} of the bound.",
        f"- The closed form of hard decision lies within the 95% interval at {sum(near)} of "
        f"{len(levels)} levels.",
    ]
    for snr in levels:
        if told := PUBLISHED.get((ML, CLEAN, snr)):
            lines.append(
                f"- At {snr:g} dB ours is {number(found[RATE, ML, snr].value / told[0], 2)} times the "
                f"published; that it is within a factor of 2 {within(found[RATE, ML, snr], told[0])}."
            )
    return markdown_table(Table("", columns, tuple(rows))) + "\n\n" + "\n".join(lines)


# --------------------------------------------------------------------------- under attack


def _attacked(records: "list[Record]") -> str:
    found = _by(records, "metric", "share", "attack")
    snr, psr = records[0].extra["snr"], records[0].extra["psr"]
    rows: list[tuple[str | None, ...]] = []
    for (metric, share, attack), record in found.items():
        if metric == RATE:
            told = PUBLISHED.get((ML, str(attack), snr)) if share == HALF else None
            bound = found.get((THEORY[ML], share, attack))
            rows.append(
                (
                    "all" if share == FULL else f"{share:g}",
                    str(attack),
                    rate(record),
                    difference(found.get((MORE, share, attack))),
                    number(bound.value, 3) if bound else None,
                    number(told[0], 2) if told else None,
                )
            )
    columns = (
        *("Power in phase", "Attack", "Block error rate", "More than jamming (pairs)"),
        *("Union bound", "Published"),
    )
    head = f"Maximum likelihood at {snr:g} dB, PSR {psr:g} dB. The paper gives the code half of the power."
    lines = [line for share in (HALF, FULL) for line in _verdicts(found, share)]
    return "\n\n".join([head, markdown_table(Table("", columns, tuple(rows))), "\n".join(lines)])


def _verdicts(found: "dict[tuple[object, ...], Record]", share: float) -> list[str]:
    """Whether the code is immune to what was made for another link, and to what is made for it."""
    name = "At the whole power in phase" if share == FULL else "At half of the power"
    jam, borrowed = found[RATE, share, JAMMING], found[RATE, share, BORROWED]
    own = max((found[RATE, share, way] for way in (BETWEEN, DIRECT)), key=lambda r: r.value)
    more = found[MORE, share, own.attack]
    cosine = found[NEAREST, share, DIRECT]
    return [
        f"- {name}, that {BORROWED} does to the code about what jamming does (within a factor of {EQUAL:g}) "
        f"{within(borrowed, jam.value, EQUAL)}: {ratio(borrowed, jam)} times. That a perturbation made for "
        f"the code does more {verdict((more.low or 0) > 0, (more.high or 0) < 0)}: {own.attack}, "
        f"{ratio(own, jam)} times.",
        f"- {name}, the direct optimiser ends at a cosine of {cosine.value:.4f} to a direction between "
        f"codewords {cosine.extra['bits']:g} bits apart.",
    ]


# --------------------------------------------------------------------------- side by side


def _points(records: "list[Record]") -> "dict[Point, dict[str, dict[str, Record]]]":
    """By Eb/N0 and PSR, the rates of each link by attack."""
    found: dict[Point, dict[str, dict[str, Record]]] = {}
    for r in records:
        point = found.setdefault((r.extra["snr"], r.extra["psr"]), {})
        point.setdefault(r.subject, {})[r.attack] = r
    return dict(sorted(found.items(), key=lambda item: (item[0][1], item[0][0])))


def best(rates: "dict[str, Record]") -> "Record":
    """What misleads a link most, among the attacks made for it."""
    return max((r for name, r in rates.items() if name in (DIRECT, BETWEEN)), key=lambda r: r.value)


def _side_by_side(records: "list[Record]") -> str:
    points = _points(records)
    names = list(next(iter(points.values())))
    radio = next(name for name in names if name != ML)
    rows: list[tuple[str | None, ...]] = []
    for (snr, psr), links in points.items():
        cells = []
        for name in (radio, ML):
            found = links[name]
            cells += [rate(found[CLEAN]), rate(found[JAMMING]), rate(best(found))]
        cells[-1] = f"{cells[-1]}, {best(links[ML]).attack}"
        times = ratio(best(links[radio]), best(links[ML]))
        rows.append((f"{snr:g}", f"{psr:g}", *cells, str(times)))
    columns = (
        *("Eb/N0, dB", "PSR, dB"),
        *(f"{radio}, {what}" for what in (CLEAN, JAMMING, "attacked")),
        *(f"Hamming, {what}" for what in (CLEAN, JAMMING, "attacked")),
        f"attacked: {radio} / Hamming",
    )
    head = (
        "Each link meets the attack made for it: the autoencoder the direct optimiser's, the code the worse "
        "of the direct optimiser's and the worst direction between codewords. Both have the same energy per "
        "block and the same power, for the code all of it in phase."
    )
    table = markdown_table(Table("", columns, tuple(rows)))
    picture = f"![{CAPTION}](pictures/{PICTURE})"
    return "\n\n".join([head, picture, table, _conclusion(points, radio)])


def _conclusion(points: "dict[Point, dict[str, dict[str, Record]]]", radio: str) -> str:
    """Which link is the more robust at equal power, and how much of that is the attack's."""
    worse: dict[str, list[str]] = {}
    for (snr, psr), links in points.items():
        times = ratio(best(links[radio]), best(links[ML]))
        held = verdict(times.low > 1, times.high < 1)
        worse.setdefault(held, []).append(f"{snr:g} dB, PSR {psr:g} dB ({number(times.value, 2)})")
    config = next(iter(next(iter(points.values())).values()))[CLEAN].config
    links = points[config["snr"], config["psr"]]
    gains = {name: ratio(best(links[name]), links[name][JAMMING]) for name in (radio, ML)}
    clean = ratio(links[radio][CLEAN], links[ML][CLEAN])
    jammed = ratio(links[radio][JAMMING], links[ML][JAMMING])
    lines = [
        "That the autoencoder errs more often than the code, each under its own best attack at equal power:",
        "",
        *(f"- {held} at {'; '.join(at)}." for held, at in worse.items()),
        "",
        f"At {config['snr']:g} dB and PSR {config['psr']:g} dB the best attack does {gains[radio]} times "
        f"what jamming does to the autoencoder, and {gains[ML]} times to the code. The autoencoder's rate is "
        f"{clean} times the code's when clean, {jammed} when jammed with the whole power where each listens, "
        f"and {ratio(best(links[radio]), best(links[ML]))} when attacked: "
        + _sentence(gains[radio].value, gains[ML].value),
    ]
    return "\n".join(lines)


def _sentence(radio: float, code: float) -> str:
    """What the two gains over jamming say of the claim that conventional coding is the safer."""
    if code <= 1:
        return "the code is not harmed by more than jamming."
    harder = "more" if radio > code else "no more"
    return (
        "the code is not immune, and of the same power made for it the autoencoder suffers "
        f"{harder} than the code does."
    )


def pictured(records: "list[Record]") -> dict[str, str]:
    """Six curves over Eb/N0, and what the paper has of the clean code."""
    from trompe.reports.radio import ErrorCurve, error_curves

    together = [r for r in records if r.config.get("side by side")]
    psr = records[0].config["psr"]
    lines: dict[str, list[tuple[float, float, float, float]]] = {}
    for (snr, at), links in _points(together).items():
        for name, found in links.items() if at == psr else ():
            shown = {CLEAN: found[CLEAN], JAMMING: found[JAMMING], "attacked": best(found)}
            for what, r in shown.items():
                line = lines.setdefault(f"{name}, {what}", [])
                if not line or line[-1][1]:  # a point without errors is the last
                    line.append((snr, r.value, r.low or 0.0, r.high or 0.0))
    curves = [ErrorCurve(name, tuple(points)) for name, points in lines.items()]
    told = [(snr, v, v, v) for (_, what, snr), (v, _) in PUBLISHED.items() if what == CLEAN]
    curves.append(ErrorCurve(f"{ML}, {CLEAN}", tuple(told), measured=False))
    title = f"{CAPTION}, PSR {psr:g} dB"
    return {PICTURE: error_curves(curves, title=title) + "\n"}
