"""The page of the paper: tables of rates with their intervals, and what they say of the claims."""

from collections.abc import Mapping
from typing import Any

from trompe.evaluation.records import Record
from trompe.experiments.generative_examples._runs import ATTACKS
from trompe.reports import Cell, Table, markdown_table

__all__ = ["page", "replication"]

RATES = ("AS-ignore-target", "AS-target")
NAMES = {"sign": "signed step", "optimised": "optimisation"}


def page(records: list[Record]) -> str:
    """The item's part of the page."""
    parts = [_clean(records), _matched(records), _claims(records), _weights(records)]
    return "\n\n".join([*parts, _feedback(records), _signed(records)])


def _of(records: list[Record], metric: str = "", **where: Any) -> list[Record]:
    """The records whose configuration says so."""
    return [
        r
        for r in records
        if (not metric or r.metric == metric)
        and all(r.config.get(key) == value for key, value in where.items())
    ]


def _subjects(records: list[Record]) -> list[str]:
    return list(dict.fromkeys(r.subject for r in records))


def _limits(records: list[Record]) -> list[str]:
    found = dict.fromkeys(str(r.config.get("budget", "")) for r in records)
    return [budget for budget in found if budget.startswith("L2")]


def _rate(record: Record | None) -> str | None:
    if record is None:
        return None
    return (
        f"{100 * record.value:.0f}% ({100 * (record.low or 0):.0f}-{100 * (record.high or 0):.0f})"
    )


def _one(found: list[Record]) -> Record | None:
    return found[0] if found else None


def _clean(records: list[Record]) -> str:
    rows = []
    for subject in _subjects(records):
        own = [r for r in records if r.subject == subject]
        read = [_one(_of(own, name)) for name in ("judge accuracy", "accuracy on codes")]
        right = _one(_of(own, "reconstruction read right", rounds=1))
        rows.append((subject, *map(_rate, read), _rate(right), right.n if right else None))
    columns = ("Model", "Judge on images", "Classifier on codes", "Reconstructions read right", "n")
    said = (
        "The judge reads images; no attack knows it. Only sources whose clean reconstruction it reads "
        "right count below. Intervals are Wilson 95%."
    )
    return "\n\n".join(["### The networks", said, markdown_table(Table("", columns, tuple(rows)))])


def _matched(records: list[Record]) -> str:
    limits, rows = _limits(records), []
    for subject in _subjects(records):
        for kind in ATTACKS:
            for solver, name in NAMES.items():
                own = [r for r in records if r.subject == subject]
                own = _of(own, kind=kind, solver=solver, rounds=1)
                row = [
                    _rate(_one(_of(own, rate, budget=limit))) for limit in limits for rate in RATES
                ]
                far = [_one(_of(own, "AS-target", budget=limit)) for limit in limits]
                n = far[-1].n if far and far[-1] else None
                rows.append((subject, kind, name, *row, n))
    heads = [f"{rate}, {limit[:2]} up to {limit[3:]}" for limit in limits for rate in RATES]
    table = Table("", ("Model", "Attack", "Solver", *heads, "n"), tuple(rows))
    said = (
        "The optimisation runs inside the ball. The signed step is tried at several radii, and counts where "
        "any of them succeeds within the limit; where a step does not lower the loss, the input is kept."
    )
    return "\n\n".join(["### Success at matched norms", said, markdown_table(table)])


def _extra(record: Record | None, name: str) -> float | None:
    value = None if record is None else record.extra.get(name)
    return None if value is None else float(f"{value:.3g}")


def _by_budget(
    records: list[Record], kind_of_budget: str, extras: tuple[str, ...]
) -> tuple[tuple[Cell, ...], ...]:
    """A row for each model, attack and budget of a kind: both rates, and what else is asked of the first."""
    rows: list[tuple[Cell, ...]] = []
    for subject in _subjects(records):
        for kind in ATTACKS:
            own = _of([r for r in records if r.subject == subject], kind=kind, rounds=1)
            for budget in dict.fromkeys(str(r.config["budget"]) for r in own):
                if budget.startswith(kind_of_budget):
                    found = [_one(_of(own, rate, budget=budget)) for rate in RATES]
                    far = [_extra(found[0], key) for key in extras]
                    rows.append((subject, kind, budget.split()[1], *map(_rate, found), *far))
    return tuple(rows)


def _weights(records: list[Record]) -> str:
    rows = _by_budget(records, "lambda", ("L2", "RMSD", "target distance"))
    columns = ("Model", "Attack", "lambda", *RATES, "Mean L2", "RMSD", "Target distance")
    said = (
        "The weight multiplies the squared L2 distance; its unit is that of each loss, so that weights are "
        "compared within a row's attack and not between attacks. The target distance is relative: 1 is the "
        "clean reconstruction's, 0 that of the target's own reconstruction."
    )
    return "\n\n".join(["### The published form", said, markdown_table(Table("", columns, rows))])


def _feedback(records: list[Record]) -> str:
    limits, rows = _limits(records)[-1:], []
    own = [r for limit in limits for r in _of(records, budget=limit, solver="optimised")]
    rounds = list(dict.fromkeys(int(r.config["rounds"]) for r in own))
    for subject in _subjects(own):
        for kind in ATTACKS:
            some = _of([r for r in own if r.subject == subject], kind=kind)
            row = [_rate(_one(_of(some, rate, rounds=k))) for k in rounds for rate in RATES]
            rows.append((subject, kind, *row))
    heads = [f"{rate}, k = {k}" for k in rounds for rate in RATES]
    said = f"The optimisation within {limits[0]}; the image passes through the model k times, and is read."
    table = Table("", ("Model", "Attack", *heads), tuple(rows))
    return "\n\n".join(["### Reconstruction feedback", said, markdown_table(table)])


def _signed(records: list[Record]) -> str:
    rows = _by_budget(records, "eps", ("L2", "RMSD", "moved"))
    columns = ("Model", "Attack", "eps", *RATES, "Mean L2", "RMSD", "Share moved")
    table = markdown_table(Table("", columns, rows))
    return "\n\n".join(["### The signed step at each radius", table])


def _claims(records: list[Record]) -> str:
    """Each claim beside what the records say, by intervals that do or do not overlap."""
    said = [
        "The paper's table could not be recovered, and none of its cells is shown here. Its claims are "
        "recalled, not quoted; each is tested on the records above, at one round. A claim holds where the "
        "intervals lie apart in its favour, fails where they lie apart against it, and is unresolved "
        "otherwise."
    ]
    limits = _limits(records)
    said += [_latent_is_best(records, limits), _sign_is_weak(records, limits)]
    return "\n\n".join(["### The claims recalled", *said, *_others(records, limits)])


def _apart(a: Record, b: Record) -> int:
    """1 where a's interval lies above b's, -1 where below, 0 where they overlap."""
    low, high = (a.low or 0.0, b.low or 0.0), (a.high or 0.0, b.high or 0.0)
    return (low[0] > high[1]) - (high[0] < low[1])


def _word(signs: list[int]) -> str:
    if signs and all(s > 0 for s in signs):
        return "holds"
    return "does not hold" if any(s < 0 for s in signs) else "unresolved"


def _pick(records: list[Record], rate: str, **where: Any) -> Record | None:
    return _one(_of(records, rate, rounds=1, **where))


def _latent_is_best(records: list[Record], limits: list[str]) -> str:
    lines = []
    for subject in _subjects(records):
        own = [r for r in records if r.subject == subject]
        for limit in limits:
            found = {
                kind: _pick(own, "AS-target", kind=kind, solver="optimised", budget=limit)
                for kind in ATTACKS
            }
            latent = found["latent"]
            others = [r for kind, r in found.items() if kind != "latent" and r is not None]
            if latent is None or not others:
                continue
            best = max((r.value, kind) for kind, r in found.items() if r is not None)[1]
            word = _word([_apart(latent, other) for other in others])
            lines.append(f"- {subject}, {limit}: {word}; the highest rate is that of {best}.")
    return "\n".join(
        ["**The attack on the latent code reaches the target most often.**", "", *lines]
    )


def _sign_is_weak(records: list[Record], limits: list[str]) -> str:
    lines = []
    for subject in _subjects(records):
        own = [r for r in records if r.subject == subject]
        for limit in limits:
            signs = []
            for kind in ATTACKS:
                pair = [
                    _pick(own, "AS-target", kind=kind, solver=solver, budget=limit)
                    for solver in ("optimised", "sign")
                ]
                if pair[0] is not None and pair[1] is not None:
                    signs.append(_apart(pair[0], pair[1]))
            count = f"{sum(s > 0 for s in signs)} of {len(signs)} attacks"
            lines.append(f"- {subject}, {limit}: {_word(signs)}; optimisation wins in {count}.")
    return "\n".join(["**One signed step is much weaker than optimisation.**", "", *lines])


def _others(records: list[Record], limits: list[str]) -> list[str]:
    """Whether each model falls; and whether the classifier on codes deceives without reaching the target."""
    falls, loose = [], []
    for subject in _subjects(records):
        own = [r for r in records if r.subject == subject]
        found = [
            r
            for kind in ATTACKS
            if (r := _pick(own, "AS-target", kind=kind, solver="optimised", budget=limits[-1]))
        ]
        if not found:
            continue
        best = max(found, key=lambda r: r.value)
        word = "holds" if (best.low or 0) > 0.5 else "unresolved"
        word = "does not hold" if (best.high or 0) < 0.5 else word
        falls.append(
            f"- {subject}: {word}; the best attack within {limits[-1]} reaches {_rate(best)} of the targets."
        )
        where = {"kind": "classifier", "solver": "optimised", "budget": limits[-1]}
        pair = [_pick(own, rate, **where) for rate in RATES]
        if pair[0] is not None and pair[1] is not None:
            shown = " against ".join(str(_rate(r)) for r in pair)
            loose.append(f"- {subject}: {_word([_apart(pair[0], pair[1])])}; {shown}.")
    first = "**Every model is vulnerable, the VAE-GAN too** (more than half of the targets are reached)."
    second = "**The attack on a classifier of codes leaves the source's class more often than it reaches "
    second += "the target's.**"
    return ["\n".join([first, "", *falls]), "\n".join([second, "", *loose])]


def replication(published: Mapping[str, tuple[float, str]]) -> str:
    """What an independent replication found, on other models and at another weight."""
    rows = tuple((name, f"{100 * value:.2f}%") for name, (value, _) in published.items())
    source = next(iter(published.values()))[1]
    said = (
        f"For orientation, the means of an {source}: a convolutional VAE with mixed codes, lambda 20 on the "
        "distance itself. Its models and its budget are others, so that these numbers are not comparable "
        "with ours; they are not the paper's."
    )
    return "\n\n".join(
        ["### A replication", said, markdown_table(Table("", ("What", "Mean rate"), rows))]
    )
