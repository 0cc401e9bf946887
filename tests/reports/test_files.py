"""Three files are written whole or not at all, and slips are told in one sentence."""

import errno
import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from trompe.core.errors import UserError
from trompe.reports import files, read, to_json, write

NAMES = ["report.html", "report.json", "report.md"]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_three_files_and_nothing_else(report, tmp_path):
    paths = write(report, tmp_path / "a" / "b")
    assert _names(tmp_path / "a" / "b") == NAMES
    assert paths.html.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert paths.markdown.read_text(encoding="utf-8").startswith("# Audit")
    assert read(paths.json) == read(tmp_path / "a" / "b") == report


def test_a_later_report_replaces_the_earlier(report, tmp_path):
    write(replace(report, partial=True), tmp_path)
    write(report, str(tmp_path))
    assert not read(tmp_path).partial
    assert _names(tmp_path) == NAMES


def test_files_can_be_read_by_others(report, tmp_path):
    mask = os.umask(0o022)
    try:
        assert write(report, tmp_path).html.stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(mask)


def test_a_folder_that_is_a_file(report, tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(UserError, match="is a file; name a folder"):
        write(report, taken)
    with pytest.raises(UserError, match="under a file; name a folder"):
        write(report, taken / "below")
    assert taken.read_text() == "mine"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_folder_that_is_a_device(report):
    with pytest.raises(UserError, match="/dev/full is a file"):
        write(report, "/dev/full")


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_full_disk_leaves_what_was_there(report, tmp_path, monkeypatch, nth):
    write(replace(report, partial=True), tmp_path)
    calls = []

    def full(number):
        calls.append(number)
        if len(calls) == nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(UserError, match="no space left on device") as caught:
        write(report, tmp_path)
    assert "\n" not in str(caught.value)
    assert _names(tmp_path) == NAMES
    assert read(tmp_path).partial, "the earlier report stands"


def test_a_full_disk_leaves_no_folder_behind(report, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(UserError):
        write(report, tmp_path / "new" / "folder")
    assert _names(tmp_path) == []


def test_a_device_that_is_truly_full(report, tmp_path):
    """The system itself refuses to write on: no file may grow beyond 4 kB."""
    (tmp_path / "r.json").write_text(to_json(report), encoding="utf-8")
    code = (
        "import resource, sys; from trompe.core.errors import UserError\n"
        "from trompe.reports import read, write\n"
        "report = read(sys.argv[1]); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n    write(report, sys.argv[2])\n"
        "except UserError as error:\n    sys.exit(str(error))"
    )
    assert resource.RLIMIT_FSIZE is not None
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "r.json"), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 1
    assert done.stderr.strip().startswith("cannot write the report to")
    assert not (tmp_path / "out").exists()


def test_reading_what_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "nowhere.json")


def test_reading_what_is_no_report(report, tmp_path):
    (tmp_path / "report.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not text"):
        read(tmp_path)
    whole = to_json(report)
    (tmp_path / "report.json").write_text(whole[: len(whole) // 2], encoding="utf-8")
    with pytest.raises(UserError, match=r"report\.json: this is not a report"):
        read(tmp_path)
