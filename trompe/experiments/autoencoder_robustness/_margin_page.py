"""The page of `autoencoder_robustness/margin`: margins over trainings, and what goes along with them."""

from trompe.evaluation.records import Record
from trompe.experiments.adversarial_vae._board import Interval, interval
from trompe.reports import Table, markdown_table

__all__ = ["growth", "rendered"]

Margins = dict[str, dict[float, dict[int, Record]]]


def _by_beta(records: list[Record]) -> Margins:
    """Records by metric, beta and training."""
    found: Margins = {}
    for record in records:
        beta, training = float(record.config["beta"]), int(record.config["training"])
        found.setdefault(record.metric, {}).setdefault(beta, {})[training] = record
    return found


def growth(betas: dict[float, dict[int, Record]]) -> Interval:
    """How much the margin of the largest beta exceeds that of the smallest, training by training."""
    least, most = betas[min(betas)], betas[max(betas)]
    return interval([most[seed].value - least[seed].value for seed in least if seed in most])


def _rows(metric: str, betas: dict[float, dict[int, Record]]) -> list[tuple[object, ...]]:
    names = (
        *("without noise", "posterior deviation", "encoder's singular value"),
        *("decoder's singular value", "squared error"),
    )
    rows: list[tuple[object, ...]] = []
    for beta, each in sorted(betas.items()):
        made = list(each.values())
        parts = [interval([r.extra[name] for r in made]).mean for name in names]
        shown = [f"{value:.3g}" for value in parts]
        zero = sum(r.extra["broken by its own noise"] for r in made) / sum(r.n for r in made)
        margins = interval([r.value for r in made])
        rows.append(
            (metric, f"{beta:g}", len(made), made[0].n, str(margins), *shown, f"{zero:.0%}")
        )
    return rows


def _follows(metric: str, betas: dict[float, dict[int, Record]]) -> str:
    """Whether the margin grows with beta, and whether with the posterior's deviation."""
    from scipy.stats import spearmanr

    gained = growth(betas)
    verdict = "unresolved"
    if gained.resolved:
        verdict = "holds" if gained.low > 0 else "does not hold: it falls"
    low, high = (
        interval([r.extra["without noise"] for r in betas[end(betas)].values()]).mean
        for end in (min, max)
    )
    made = [record for each in betas.values() for record in each.values()]
    wide = [record.extra["posterior deviation"] for record in made]
    rank = spearmanr(wide, [record.value for record in made]).statistic
    return (
        f"- {metric}: from beta {min(betas):g} to {max(betas):g} the margin changes by {gained} (Student 95% "
        f"over trainings). That it grows with beta: **{verdict}**. Over all {len(made)} trainings its rank "
        f"correlation with the posterior's deviation is {rank:+.2f}. Without noise the mean margin goes "
        f"from {low:.3f} to {high:.3f}."
    )


def rendered(records: list[Record]) -> str:
    """The table, and what follows from it."""
    found = _by_beta(records)
    columns = (
        *("", "beta", "trainings", "images", "margin (L2)", "without noise"),
        *("posterior deviation", "encoder's top singular value", "decoder's"),
        *("squared error per pixel", "margin 0"),
    )
    rows = [row for metric, betas in found.items() for row in _rows(metric, betas)]
    table = Table("", columns, tuple(rows))  # type: ignore[arg-type]
    note = (
        "Margins are means over images of the middles of their brackets, with Student intervals over "
        "trainings. A search may miss the worst change, so that a bracket's upper end is an upper bound, and "
        "its lower end is none. A larger beta also reconstructs worse: an output that says less "
        "about its input is harder to move, and part of the growth is that. The last column is the share of "
        "images whose own two draws lie further apart than r half of the time; an image that nothing broke "
        "counts with the largest radius tried."
    )
    said = "\n".join(_follows(metric, betas) for metric, betas in found.items())
    return "\n\n".join([note, markdown_table(table), said])
