"""Defences of radio links: the item at its smallest, and what its page says of records made by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from trompe import zoo
from trompe.core.errors import UserError
from trompe.evaluation.records import Record, read_records
from trompe.experiments import reproduce
from trompe.experiments.comms import defenses
from trompe.experiments.comms._defenses_page import Found, claims
from trompe.experiments.comms._links import JAMMING
from trompe.experiments.comms.defenses import ADAPTIVE, BANK, KEYED, PLAIN
from trompe.zoo.radios import Stage

Outcome = tuple[list[Record], str]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    where = tmp_path_factory.mktemp("defenses")
    path, page = reproduce("comms/defenses", "smoke", results_root=where)
    return read_records(path), page.read_text()


def test_every_defence_meets_every_attacker(measured: Outcome) -> None:
    records, text = measured
    met = {(r.subject, r.attack) for r in records if r.config.get("curve")}
    kinds = [defence.kind for defence in defenses.SCALES["smoke"].defences]
    attacks = ("", JAMMING, defenses.TRANSFERRED, ADAPTIVE)
    assert met == {(k, a) for k in kinds for a in attacks} - {(PLAIN, defenses.TRANSFERRED)}
    assert text.count("that it leaves the attacker who knows it fewer errors") == len(kinds) - 1
    assert text.count("**") % 2 == 0
    for name, picture in defenses.pictures(records).items():
        assert f"pictures/{name}" in text
        assert ElementTree.fromstring(picture).tag.endswith("svg")


def test_without_an_attack_a_key_changes_nothing(measured: Outcome) -> None:
    records, _ = measured
    clean = {
        (r.subject, r.extra["snr"]): (r.value, r.n)
        for r in records
        if r.config.get("curve") and not r.attack
    }
    assert clean[KEYED, 4.0] == clean[PLAIN, 4.0]
    assert clean[BANK, 4.0] != clean[PLAIN, 4.0]


def edited(records: list[Record], where: dict[str, Any], value: float, half: float) -> list[Record]:
    """The records with another difference at one place."""

    def meant(r: Record) -> bool:
        told = {"subject": r.subject, "psr": r.extra.get("psr"), "than": r.config.get("than")}
        return told == where

    return [
        replace(r, value=value, low=value - half, high=value + half) if meant(r) else r
        for r in records
    ]


@pytest.mark.parametrize(
    ("value", "says"),
    [(-0.1, "**holds**"), (0.1, "**does not hold**"), (0.0, "is **unresolved**")],
)
def test_a_gain_is_judged_by_the_interval_of_pairs(
    measured: Outcome, value: float, says: str
) -> None:
    where = {"subject": BANK, "psr": -6.0, "than": PLAIN}
    text = defenses.render(edited(measured[0], where, value, 0.02))
    line = next(line for line in text.split("\n") if line.startswith(f"- **{BANK}**"))
    assert says in line


@pytest.mark.parametrize(
    ("share", "says"), [(0.0, "**holds**"), (0.5, "**does not hold**"), (0.1, "is **unresolved**")]
)
def test_a_key_is_judged_beside_jamming(measured: Outcome, share: float, says: str) -> None:
    records = measured[0]
    jammed = next(
        r.value
        for r in records
        if r.subject == KEYED and r.attack == JAMMING and r.extra["snr"] == 8.0
    )
    where = {"subject": KEYED, "psr": -6.0, "than": JAMMING}
    text = defenses.render(edited(records, where, share * jammed, 0.05 * jammed))
    assert says in next(line for line in text.split("\n") if "under a secret key" in line)


def test_a_hardened_radio_starts_from_the_plain_one_and_leaves_its_hash_alone(
    tmp_path: Path,
) -> None:
    plain = zoo.Radio(stages=(Stage(64, 1e-2, 5),))
    assert set(plain.settings()) == {"radio", "stages", "seed"}
    hard = replace(plain, psr=-6.0)
    first = zoo.radio(hard, root=tmp_path, progress=False)
    assert {path.stem.rpartition("-")[0] for path in tmp_path.glob("*.json")} == {
        "mlp-7-4",
        "mlp-7-4-bank-6",
    }
    again = zoo.radio(hard, root=tmp_path, progress=False)
    assert first.codebook().equal(again.codebook())
    with pytest.raises(UserError, match="against must be one of block, bank, jamming"):
        zoo.Radio(against="nobody")  # type: ignore[arg-type]


def test_nothing_is_claimed_of_defences_that_were_not_measured(measured: Outcome) -> None:
    few = [r for r in measured[0] if r.subject in (PLAIN, BANK)]
    text = claims(Found(few))
    assert "secret key" not in text
    assert "random directions" not in text
