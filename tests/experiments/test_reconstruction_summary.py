"""The head of the page of Hlihor et al.: each claim in a line, from whatever is recorded."""

from dataclasses import replace
from itertools import product

from trompe.evaluation.records import Record
from trompe.experiments.reconstruction import summary
from trompe.experiments.reconstruction._attacked import CONTROL, NONE, PAPER
from trompe.experiments.reconstruction.figure_6 import WORST


def record(kind: str, stp: float, by: str, share: float) -> Record:
    right = "1" * round(60 * share) + "0" * round(60 - 60 * share)
    about = {"data": "digits", "kind": kind, "stp": stp, "weight": 0.0, "scale": 0.0}
    about |= {"by": by, "right": right, "drawn": 1}
    return Record.rate(
        "accuracy", right.count("1"), 60, eps=0.1 if by else 0.0, config=about, scale="cpu"
    )


def figure_1(**shares: float) -> list[Record]:
    """All fare alike, but for those named."""
    models = [(NONE, 0.0), ("ae", 0.0), ("ae", 0.4), ("dae", 0.4)]
    return [
        record(kind, stp, by, shares.get(f"{kind}{10 * stp:.0f}_{by}", 0.5))
        for (kind, stp), by in product(models, ("", PAPER, CONTROL))
    ]


def row(page: str, claim: str) -> list[str]:
    line = next(line for line in page.splitlines() if line.startswith(f"| {claim}"))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_a_claim_is_judged_under_each_attack_by_its_own_records() -> None:
    shares = {f"dae4_{PAPER}": 1.0, f"ae4_{PAPER}": 0.8, f"dae4_{CONTROL}": 0.1}
    page = summary({"figure_1": figure_1(**shares), "figure_2": []})
    paper, control, worst = row(page, "denoising models")
    assert paper == "holds: DAE (digits)"
    assert control == "does not hold: DAE (digits)"
    assert worst == "not recorded"
    assert row(page, "the most training noise")[:2] == [
        "holds: AE (digits), DAE (digits)",
        "does not hold: DAE (digits); is unresolved: AE (digits)",
    ]
    assert row(page, "with the most noise")[0] == "holds: DAE (digits)"
    assert "figure 1, scale `cpu`: 60 images of digits" in page


def test_what_costs_clean_accuracy_is_asked_of_no_attack() -> None:
    sampled = [
        replace(
            r,
            config={**r.config, "kind": kind, "stp": 0.4, "scale": scale},
        )
        for kind, scale, by in product(
            ("vae", "dvae"), (0.0, 0.001, 0.01, 0.1, 1.0), ("", PAPER, CONTROL)
        )
        for r in [record(kind, 0.4, by, 0.1 if scale == 1.0 and not by else 0.9)]
    ]
    page = summary({"figure_3": sampled})
    assert row(page, "and it costs clean accuracy") == [
        "holds: VAE (digits), DVAE (digits)",
        "needs no attack",
        "not recorded",
    ]


def test_without_records_nothing_is_said() -> None:
    assert summary({"figure_1": [], "figure_5": []}) == ""
    assert WORST not in summary({})
