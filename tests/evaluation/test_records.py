"""Records: what is written is what is read, and a file is whole or not there."""

import json
import math
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from trompe.core.errors import UserError
from trompe.evaluation import Record, read_records, wilson, write_records
from trompe.evaluation.records import SCHEMA, replace_file


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 50), (3, 10), (90, 100), (1000, 1000), (1, 1)])
def test_wilson_is_scipys(k: int, n: int) -> None:
    theirs = binomtest(k, n).proportion_ci(0.95, "wilson")
    assert wilson(k, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize("n", [1, 7, 24, 48, 1000])
def test_the_ends_of_the_range_are_in_the_interval(n: int) -> None:
    assert wilson(0, n)[0] == 0.0
    assert wilson(n, n)[1] == 1.0


def test_of_no_trials_nothing_is_known() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert math.isnan(Record.rate("x", 0, 0).value)


def test_a_rate_lies_within_its_interval() -> None:
    record = Record.rate("robust accuracy", 2.5, 10, eps=0.1)
    assert (record.value, record.n, record.interval) == (0.25, 10, "Wilson 95%")
    assert record.low is not None
    assert record.high is not None
    assert 0 <= record.low < 0.25 < record.high <= 1


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    one = Record.rate(
        "robust accuracy", 7, 9, subject="a model", eps=8 / 255, norm="Linf", seed=3,
        counts={"correct": 7, "wrong": 1, "rejected": 1}, extra={"mean L2": 0.1 + 0.2},
        config={"suite": {"PGD": {"steps": 40}}}, forwards=12, backwards=5, seconds=0.25,
    )  # fmt: skip
    both = [one, Record("AUDDC", 0.5, 2)]
    write_records(tmp_path / "a" / "records.json", both)
    assert read_records(tmp_path / "a" / "records.json") == both


def test_what_json_cannot_hold(tmp_path: Path) -> None:
    odd = Record(
        "x", math.nan, 1, low=-math.inf, extra={"a": np.float32(0.5), "b": torch.tensor(2)},  # type: ignore[dict-item]
        config={"where": Path("here"), "eps": (0.1, math.inf), "how": np.int64(3)},
    )  # fmt: skip
    path = tmp_path / "records.json"
    write_records(path, [odd])
    text = path.read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    back = read_records(path)[0]
    assert math.isnan(back.value)
    assert back.low is None
    assert back.extra == {"a": 0.5, "b": 2}
    assert back.config == {"where": "here", "eps": [0.1, None], "how": 3}


def test_a_later_versions_fields_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    rows = [{"metric": "m", "value": 1.0, "n": 2, "of the future": True}]
    path.write_text(json.dumps({"schema": SCHEMA, "records": rows}))
    assert read_records(path)[0].metric == "m"


def test_what_all_share_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    records = [
        Record("m", n / 10, n, subject="net", config={"deep": {"steps": 40}, "cell": str(n % 2)})
        for n in range(1, 5)
    ]
    write_records(path, records)
    text = path.read_text()
    assert text.count("steps") == text.count('"net"') == 1
    assert [line.count('"value"') for line in text.splitlines() if '"cell"' in line] == [1] * 4
    assert read_records(path) == records


def test_what_is_equal_and_of_another_kind_is_not_shared(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    values = [1, True, 1.0, [1], [True]]
    write_records(path, [Record("m", 0.5, 2, config={"one": value}) for value in values])
    assert [repr(r.config["one"]) for r in read_records(path)] == list(map(repr, values))
    write_records(path, [Record("m", 0.5, 2, config={"one": value}) for value in ([1], [True])])
    assert [repr(r.config["one"]) for r in read_records(path)] == ["[1]", "[True]"]


def test_an_earlier_schema_is_read(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    path.write_text(
        '{"schema": 1, "records": [{"metric": "m", "value": 1.0, "n": 2, "config": {"a": 1}}]}'
    )
    assert read_records(path)[0].config == {"a": 1}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"schema": 99, "records": []}', "has schema 99"),
        (b'{"schema": 1, "records": [{"metr', "not a file of records"),
        (b'{"schema": 1, "records": [3]}', "not a file of records"),
        (b'{"schema": 1, "records": [{"value": 1}]}', "not a file of records"),
        (b"[1, 2]", "not a file of records"),
        (b"\xff\xfe\x00", "not a file of records"),
        (b"", "not a file of records"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "records.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=told):
        read_records(path)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        read_records(tmp_path / "none.json")


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "records.json").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        write_records(tmp_path / "records.json", [])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_records(tmp_path / "file" / "records.json", [])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_sentence_and_the_device_stays() -> None:
    with pytest.raises(UserError, match=r"[Nn]o space left"):
        write_records("/dev/full", [Record("m", 1.0, 1)])
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "records.json"
    write_records(path, [Record("before", 1.0, 1)])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match="No space left"):
        replace_file(path, "half")
    assert read_records(path)[0].metric == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["records.json"]
