"""Tables II and III: they run on the embedded digits, and their sentences follow from their records."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from trompe.evaluation.records import Record, read_records
from trompe.experiments import reproduce
from trompe.experiments.type_one import table_2, table_3
from trompe.experiments.type_one._sent_back import SentBackStep
from trompe.experiments.type_one._shown import one
from trompe.training import Batches, train

Outcome = tuple[list[Record], Path]


def outcome(item: str, folder: Path) -> Outcome:
    path, page = reproduce(f"type_one/{item}", "smoke", results_root=folder / "results")
    return read_records(path), page


@pytest.fixture(scope="module")
def squeezed(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return outcome("table_2", tmp_path_factory.mktemp("table_2"))


@pytest.fixture(scope="module")
def strengthened(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return outcome("table_3", tmp_path_factory.mktemp("table_3"))


def test_zeta_is_the_published_share_of_the_threshold(squeezed: Outcome) -> None:
    records = squeezed[0]
    right = one(records, "verification accuracy")
    assert right is not None
    found = [r for r in records if r.metric == "detected"]
    assert len(found) == len(table_2.KINDS) * len(table_2.RULES) * 2
    for record in found:
        if record.config["rule"] == "published":
            known = 1.2 / 1.242 * right.config["threshold"]
            assert record.config["zeta"] == pytest.approx(known, rel=1e-6)
    tied = {r.config["zeta"] for r in found if r.config["rule"] == "calibrated"}
    assert len(tied) == 2, "one for each filter, the same for all inputs"


def test_published_numbers_stand_beside_ours(squeezed: Outcome, strengthened: Outcome) -> None:
    assert "48.7%" in squeezed[1].read_text()
    page = strengthened[1].read_text()
    assert "(published 55.4%)" in page
    assert "stands in for FaceNet" in page


def test_the_verdict_on_squeezing_follows_from_the_records(squeezed: Outcome) -> None:
    records = [r for r in squeezed[0] if r.metric != "detected"]
    for clean, moved, pgd, said in (
        (10, 11, 400, ("**holds**", "**holds**")),
        (10, 300, 10, ("**does not hold**", "**is unresolved**")),
    ):
        rates = {"clean": clean, "type one": moved, "pgd": pgd}
        made = [
            Record.rate("detected", rates.get(kind, 0), 500, config={
                "kind": kind, "kernel": 3, "rule": rule, "zeta": 1.0, "steps": 5})
            for kind in table_2.KINDS for rule in table_2.RULES
        ]  # fmt: skip
        page = table_2.render([*records, *made])
        claims = [line for line in page.splitlines() if line.startswith("- at ")]
        assert len(claims) == len(table_2.RULES)
        for claim in claims:
            first, second = claim.split("That PGD")
            assert said[0] in first
            assert said[1] in second


def test_every_network_is_measured_on_the_other_half(strengthened: Outcome) -> None:
    records = [r for r in strengthened[0] if r.metric == "right"]
    assert len(records) == len(table_3.NETWORKS) * len(table_3.COLUMNS)
    found = table_3._made(table_3.SCALES["smoke"])
    assert not set(found.made.person[found.sent].tolist()) & set(
        found.made.person[found.others].tolist()
    )
    sizes = {"type one": found.others & found.counted, "clean": torch.ones(100)}
    for record in records:
        assert record.config["sent"] == int(found.sent.sum())
        assert record.n == int(sizes.get(str(record.config["column"]), found.others).sum())
    thresholds = {r.config["network"]: r.config["threshold"] for r in records}
    assert len(set(thresholds.values())) > 1, "each network has its own"
    anew, made = (one(records, "right", network="original", column=c) for c in ("pgd anew", "pgd"))
    assert anew is not None
    assert made is not None
    assert anew.value == made.value, "on the original both are the same examples"


def test_the_verdict_on_strengthening_follows_from_the_records(strengthened: Outcome) -> None:
    def changed(record: Record, share: float) -> Record:
        return replace(record, value=share, low=share - 0.01, high=share + 0.01)

    wins = {("type one", "type one"): 0.9, ("fgsm", "type one"): 0.1}
    made = [
        changed(r, wins.get((str(r.config["network"]), str(r.config["column"])), 0.5))
        for r in strengthened[0]
    ]
    page = table_3.render(made)
    assert "Type I examples help against Type I: **holds**" in page
    assert "FGSM's examples help against Type I: **does not hold**" in page
    assert "PGD's examples help against FGSM: **is unresolved**" in page


def test_pairing_brings_pairs_together_and_names_part_them() -> None:
    """One linear embedder, a face and its example: paired they meet, as two people they part."""
    x = torch.eye(4)
    face, example = torch.tensor([[1.0, 0.2, 0, 0]]), torch.tensor([[1.0, -0.2, 0, 0]])
    cosine = {}
    for name, other, weight in (("paired", 4, 5.0), ("named", 5, 0.0), ("parted", 5, 5.0)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Linear(4, 3, bias=False)
        pairs = (face, example, torch.tensor([4]), torch.tensor([other]))
        step = SentBackStep(model, 6, 3, 5e-2, pairs=pairs, count=2, pairing=weight)
        train(step, Batches(x, torch.arange(4), size=4), epochs=60, progress=False)
        with torch.no_grad():
            cosine[name] = float(torch.cosine_similarity(model(face), model(example)))
    assert cosine["paired"] > 0.95
    assert cosine["named"] < cosine["paired"] - 0.2
    assert cosine["parted"] < cosine["named"] - 0.05


def test_a_full_column_leaves_nothing_to_claim(strengthened: Outcome) -> None:
    made = [
        replace(r, value=0.98) if r.config.get("column") == "fgsm" else r for r in strengthened[0]
    ]
    assert "PGD's examples help against FGSM: **is unresolved: no room**" in table_3.render(made)


def test_who_stops_says_so(squeezed: Outcome) -> None:
    attacks = [one(squeezed[0], "same person", kind=k) for k in ("pgd", "pgd that stops")]
    assert len({r.attack for r in attacks if r is not None}) == 2
