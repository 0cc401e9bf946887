"""Table I and logit pairing: they run on the embedded digits, and their sentences follow from their "
"records."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trompe.evaluation.records import Record, read_records
from trompe.experiments import reproduce
from trompe.experiments.type_one import logit_pairing, table_1
from trompe.experiments.type_one._pairing_page import rendered as pairing_page
from trompe.experiments.type_one._squeeze_page import rendered as squeeze_page
from trompe.experiments.type_one._strengthened import NETWORKS, ORIGINAL, PAIRED, Lab

Outcome = tuple[list[Record], Path]


def outcome(item: str, folder: Path) -> Outcome:
    path, page = reproduce(f"type_one/{item}", "smoke", results_root=folder / "results")
    return read_records(path), page


@pytest.fixture(scope="module")
def squeezed(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return outcome("table_1", tmp_path_factory.mktemp("table_1"))


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return outcome("logit_pairing", tmp_path_factory.mktemp("logit_pairing"))


def of(records: list[Record], metric: str, **where: object) -> list[Record]:
    return [r for r in records if r.metric == metric and where.items() <= r.config.items()]


def test_thresholds_are_set_on_images_that_are_not_attacked(squeezed: Outcome) -> None:
    """Ours refuse at most the published share of the held-out images; the published ones as many as they "
    "do."""
    records, page = squeezed
    config = table_1.SCALES["smoke"]
    held_out = of(records, "detection rate", set="held out")
    assert {r.n for r in held_out} == {config.held_out}
    own = [r for r in held_out if r.config["at"].startswith("clean rate")]
    assert [r.config["clean rate"] for r in own] == [0.234, 0.102, 0.050]
    assert all(r.value <= r.config["clean rate"] for r in own)
    assert [r.config["threshold"] for r in held_out[:3]] == list(table_1.ZETA)
    assert (page.parent / "pictures" / table_1.PICTURE).read_bytes()[1:4] == b"PNG"


def test_all_and_the_successful_are_counted_apart(squeezed: Outcome) -> None:
    records = squeezed[0]
    for won in of(records, "success"):
        name = won.config["set"]
        every = of(records, "detection rate", set=name, of="all")
        some = of(records, "detection rate", set=name, of="successful")
        assert len(every) == len(some) == 6
        assert {r.n for r in every} == {won.n} == {table_1.SCALES["smoke"].n}
        assert {r.n for r in some} == {round(won.value * won.n)}


def test_eight_bits_are_measured_beside_what_was_found(squeezed: Outcome) -> None:
    """A minimal perturbation may be rounded away, and the page says where that changes a verdict."""
    records, page = squeezed
    found = {r.config["set"]: r for r in of(records, "success")}
    saved = {r.config["set"]: r for r in of(records, f"success{table_1.STORED}")}
    assert found.keys() == saved.keys()
    assert saved["DeepFool"].value < found["DeepFool"].value
    assert {r.n for r in saved.values()} == {table_1.SCALES["smoke"].n}
    assert "| As 8-bit files |" in page.read_text()
    gone = [
        replace(r, value=0.9, low=0.8, high=1.0)
        if r.metric == f"rise over clean{table_1.STORED}" and r.config["set"] == "Type I"
        else r
        for r in records
    ]
    assert "of Type I the claim **does not hold** (90.0 points [80.0, 100.0])" in squeeze_page(gone)


def test_a_minimal_perturbation_is_out_of_reach_of_a_high_threshold(squeezed: Outcome) -> None:
    """Half sure of each of two classes, the softmax is 0.71 from certainty of either."""
    records = squeezed[0]
    reach = of(records, "within reach", set="DeepFool")
    assert [r.value for r in reach[:2]] == [1, pytest.approx(1, abs=0.1)]
    assert reach[2].value < 0.2


def shifted(records: list[Record], rise: float, name: str) -> str:
    """The page, had the attack's detection rate risen by so much."""
    moved = [
        replace(r, value=rise, low=rise - 0.01, high=rise + 0.01)
        if r.metric == "rise over clean" and r.config["set"] == name
        else r
        for r in records
    ]
    return squeeze_page(moved)


def test_the_claim_follows_from_the_rises(squeezed: Outcome) -> None:
    records = squeezed[0]
    said = {rise: shifted(records, rise, "Type I") for rise in (0.03, 0.05, 0.2)}
    assert "3.0 points [2.0, 4.0]" in said[0.03]
    assert "the claim **holds** and" in said[0.03]
    assert "the claim **is unresolved** and" in said[0.05]
    assert "the claim **does not hold** and" in said[0.2]
    assert "holds for FGSM" in shifted(records, 0.7, "FGSM")
    assert "fails for FGSM (30.0 points" in shifted(records, 0.3, "FGSM")


def test_every_network_meets_every_set(paired: Outcome) -> None:
    records, page = paired
    for images in logit_pairing.SETS:
        found = [r for r in of(records, "accuracy", set=images) if r.config.get("of") != "all"]
        assert [r.config["network"] for r in found] == list(NETWORKS)
    made = of(records, "accuracy", set=logit_pairing.MADE_I, network=ORIGINAL, of="counted")
    assert all(r.n == 0 or r.value < 1 for r in made)
    assert "<svg" in (page.parent / "pictures" / logit_pairing.PICTURE).read_text()


def test_no_image_that_was_sent_back_is_attacked_anew(paired: Outcome) -> None:
    """What the second attack meets is what is left of its images, of which the first row has all."""
    records = paired[0]
    config = logit_pairing.SCALES["smoke"]
    rest = Lab(config).halves[2].index
    every = of(records, "over-stability", set=logit_pairing.MADE_I, network=ORIGINAL)[0]
    anew = of(records, "over-stability", set=logit_pairing.OWN_I, network=ORIGINAL)[0]
    first = Lab(config).made().index[: config.anew]
    assert every.n == len(rest) < config.n
    assert anew.n == int(torch.isin(first, rest).sum()) < config.anew


def test_no_attack_makes_a_network_better_than_clean(paired: Outcome) -> None:
    records = paired[0]
    for name in NETWORKS:
        clean, made, own = (
            of(records, "accuracy", set=images, network=name)[0]
            for images in (logit_pairing.CLEAN, logit_pairing.MADE_II, logit_pairing.OWN_II)
        )
        assert own.value <= clean.value
        assert own.value <= made.value + 0.1


def moved(records: list[Record], images: str, value: float) -> str:
    """The page, had the paired network been right on so many."""
    return pairing_page(
        [
            replace(r, value=value, low=value - 0.02, high=value + 0.02, n=500)
            if r.metric == "accuracy" and (r.config["network"], r.config["set"]) == (PAIRED, images)
            else r
            for r in records
        ]
    )


def test_ours_are_put_beside_the_published(paired: Outcome) -> None:
    records = paired[0]
    assert "published 98.5%, below it" in moved(records, logit_pairing.MADE_II, 0.9)
    assert "published 98.5%, in agreement with it" in moved(records, logit_pairing.MADE_II, 0.98)
    assert "published 14.2%, above it; the claim **holds**" in moved(
        records, logit_pairing.MADE_I, 0.3
    )
    assert "the claim **does not hold**" in moved(records, logit_pairing.MADE_I, 0.8)
