"""The page of `type_one/digits`: who was deceived, by which variant, and what the judge is worth."""

from collections.abc import Sequence

from trompe.evaluation.records import Record
from trompe.experiments.type_one._shown import find, most, one, rate
from trompe.experiments.type_one.digits import ASKED, BASE, LENIENT, PUBLISHED
from trompe.reports import Table, markdown_table
from trompe.reports.document import Cell
from trompe.reports.wording import percent

__all__ = ["rendered"]

PARTS = {
    "judge sees the change": "Judge sees the target",
    "looks real": "Looks real",
    "victim keeps it at 50%": "Victim keeps its class at 50% or more",
    "changed and kept": "Success without asking for realness",
    "leniently judged": "Success, judged leniently",
}
FAILED = {
    "not changed": "the judge does not see the target",
    "not real": "the judge sees the target but takes the image for no digit",
    "victim changed": "the image became the target, and the victim's answer or confidence went with it",
}


def rendered(records: list[Record]) -> str:
    """Tables and sentences."""
    blocks = [_victims(records), _failures(records), *_verdicts(records)]
    blocks += [_variants(records), *_differences(records), *_confirmed(records)]
    blocks += [_networks(records), _judge(records)]
    return "\n\n".join(blocks)


def _base(records: list[Record]) -> list[Record]:
    return find(records, "over-stability", row="victims")


def _victims(records: list[Record]) -> str:
    rows = []
    for won in _base(records):
        own = {"row": "victims", "subject": won.subject}
        parts = [rate(one(records, part, **own)) for part in PARTS]
        saved = percent(won.extra["as 8-bit files"])
        asked = f"{won.n} of {won.extra['asked']:.0f}"
        steps = won.config["steps"]
        rows.append((won.subject, asked, steps, rate(won), *parts, saved, _spent(won)))
    columns = (
        "Victim",
        "n of images asked",
        "Steps at most",
        "Success",
        *PARTS.values(),
        "Success as 8-bit files",
        "Seconds an image",
    )
    note = (
        "Success asks for all three conditions at once. Target: the next class. Counted are images that "
        f"victim and judge both read correctly. {_who(records)} Judged leniently: with thresholds that take "
        f"{percent(LENIENT, 0)} of real images for unreal, not 5%. Brackets are Wilson 95% intervals."
    )
    return _noted(columns, rows, note)


def _noted(columns: tuple[str, ...], rows: Sequence[tuple[Cell, ...]], note: str) -> str:
    return f"{markdown_table(Table('', columns, tuple(rows)))}\n\n{note}"


def _spent(won: Record) -> str:
    attacked = won.n + won.extra["judge erred"]
    return f"{won.seconds / attacked:.2f}" if attacked else "–"


def _who(records: list[Record]) -> str:
    told = str(next((r.config["judge"] for r in records if "judge" in r.config), ""))
    return told[:1].upper() + told[1:] + "."


def _failures(records: list[Record]) -> str:
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (won.subject, won.counts["success"], *(won.counts[name] for name in FAILED), won.n)
        for won in _base(records)
    )
    columns = ("Victim", "Success", "Not changed", "Changed, not real", "Victim lost", "n")
    note = "Each image stands in the first column whose condition fails, from left to right."
    return _noted(columns, rows, note)


def _verdicts(records: list[Record]) -> list[str]:
    """Whether the rate asked for is reached, and what stands in the way where it is not."""
    told = []
    for won in _base(records)[:1]:
        verdict = most(won, ASKED)
        said = f"A success rate of {percent(ASKED, 0)} against {won.subject} **{verdict}**: {rate(won)}."
        lost = {name: won.counts[name] for name in FAILED}
        worst = max(lost, key=lambda name: lost[name])
        if lost[worst]:
            share = lost[worst] / max(1, sum(lost.values()))
            said += (
                f" Of its {sum(lost.values())} failures {lost[worst]} ({percent(share, 0)}) are of one kind: "
                f"{FAILED[worst]}."
            )
        said += _without_realness(records, won)
        told.append(said)
    return told


def _without_realness(records: list[Record], won: Record) -> str:
    """How much of a shortfall is the judge's idea of what a digit is."""
    own = {"row": "victims", "subject": won.subject}
    kept, lenient = (one(records, name, **own) for name in ("changed and kept", "leniently judged"))
    if kept is None or lenient is None:
        return ""
    said = (
        f" Were the image not asked to look real, it would be {rate(kept)}; with lenient thresholds it is "
        f"{rate(lenient)}."
    )
    free = one(records, "looks real", variant="no victim (image transition)")
    held = one(records, "looks real", variant=BASE)
    if free is None or held is None:
        return said
    blame = "is" if (free.low or 0) > (held.high or 1) else "is not shown to be"
    return said + (
        f" The same decoder's digits look real in {rate(free)} where no victim has to be kept and in "
        f"{rate(held)} where one has: keeping its answer {blame} what makes them unlike digits."
    )


def _variants(records: list[Record]) -> str:
    rows = []
    for won in find(records, "over-stability", row="variants"):
        own = {"row": "variants", "variant": won.config["variant"]}
        parts = [rate(one(records, part, **own)) for part in PARTS]
        apart = one(records, "difference in over-stability", **own)
        rows.append((own["variant"], won.config["steps"], won.n, rate(won), *parts, _points(apart)))
    columns = (
        "Attack",
        "Steps at most",
        "n",
        "Success",
        *PARTS.values(),
        "Difference from the first",
    )
    note = (
        "The same images of the first victim throughout. The difference is the mean over images, with its "
        "normal 95% interval. Nearer to the prior: more weight on the discriminator and on the code's norm, "
        "alpha 0.1 and gamma 0.05, or gamma 0.1 with a weight of the victim that grows faster and higher, "
        "eta 3e-4 and cap 0.3. The last row is no attack: real images of the target, as near as there are."
    )
    return _noted(columns, rows, note)


def _confirmed(records: list[Record]) -> list[str]:
    """What the attack and the best variant do on images that no setting was chosen on."""
    rows = []
    for won in find(records, "over-stability", row="confirmed"):
        own = {"row": "confirmed", "variant": won.config["variant"]}
        parts = [rate(one(records, part, **own)) for part in PARTS]
        rows.append((own["variant"], won.config["steps"], won.n, rate(won), *parts))
    if not rows:
        return []
    columns = ("Attack", "Steps at most", "n", "Success", *PARTS.values())
    note = (
        "The attack's settings were chosen on test images that the tables above count too, among the first; "
        "so were those of the best variant. Here are the images that follow them, which chose nothing."
    )
    return [_noted(columns, rows, note)]


def _points(record: Record | None) -> str:
    if record is None or record.low is None or record.high is None:
        return "–"
    value, low, high = (100 * v for v in (record.value, record.low, record.high))
    return f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]".replace("-", "\N{MINUS SIGN}")


def _differences(records: list[Record]) -> list[str]:
    """What each part of the attack is worth, as far as the paired images tell."""
    told = []
    for name, part in {
        "no discriminator": "the discriminator",
        "fixed weight": "adapting the weight",
        "random start": "starting at the image's own code",
        "no victim (image transition)": "attending to the victim",
    }.items():
        apart = one(records, "difference in over-stability", variant=name)
        if apart is None or apart.low is None or apart.high is None:
            continue
        verdict = (
            "gains"
            if apart.high < 0
            else "costs"
            if apart.low > 0
            else "makes no resolved difference"
        )
        told.append(f"{part} {verdict} ({_points(apart)} without it)")
    return [f"Part by part, against *{BASE}*: {'; '.join(told)}."] if told else []


def _networks(records: list[Record]) -> str:
    rows = []
    for error in find(records, "test error"):
        role = str(error.config["role"])
        known = PUBLISHED.get(error.subject)
        shown = None if known is None else percent(known[0], 2)
        rows.append((error.subject, role, rate(error, 2), shown, error.n))
    columns = ("Network", "Role", "Test error", "Published", "n")
    note = (
        "Published are the errors of the original's perceptron and of the label head of its SVAE."
    )
    return _noted(columns, rows, note)


def _judge(records: list[Record]) -> str:
    rows = []
    for real in find(records, "taken as real"):
        if real.config.get("thresholds") == "lenient":
            continue
        kind = str(real.config["images"])
        lenient = one(records, "taken as real", thresholds="lenient", images=kind)
        label = one(records, "accuracy", images=kind)
        rows.append((kind, real.n, rate(real), rate(lenient), rate(label)))
    columns = ("Images", "n", "Taken as real", "Leniently", "Read as their label")
    note = (
        "What the judge makes of test images, of their decodings by the attacker's own SVAE, and of garbage. "
        "Codes far out are three times as long as the prior's; some of them decode to digits."
    )
    return _noted(columns, rows, note)
