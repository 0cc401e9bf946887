"""Reports on disk: three files, written whole or not at all, and read back."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from trompe.core.errors import UserError
from trompe.reports.codec import from_json, to_json
from trompe.reports.document import Report
from trompe.reports.page import html
from trompe.reports.tables import markdown

__all__ = ["Written", "read", "write"]


class Written(NamedTuple):
    """Where a report's three renderings are."""

    html: Path
    markdown: Path
    json: Path


def write(report: Report, folder: str | Path) -> Written:
    """Write ``report.html``, ``report.md`` and ``report.json`` into a folder, made if need be.

    All three are written under temporary names and then renamed, so that a reader never sees half
    a file and a failure leaves what was there before.

    Raises:
        UserError: where the folder is a file or cannot be written, or the disk is full.
    """
    folder = Path(folder)
    paths = Written(folder / "report.html", folder / "report.md", folder / "report.json")
    texts = (html(report), markdown(report), to_json(report))
    made = _make(folder)
    drafts = [path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in paths]
    try:
        for draft, text in zip(drafts, texts, strict=True):
            _write(draft, text)
        for draft, path in zip(drafts, paths, strict=True):
            draft.replace(path)
    except OSError as error:
        raise UserError(f"cannot write the report to {folder}: {_reason(error)}") from error
    finally:
        _clear(drafts, made)
    return paths


def read(path: str | Path) -> Report:
    """The report in a folder that ``write`` filled, or in a ``report.json``.

    Raises:
        UserError: where there is none, or it cannot be read.
    """
    path = Path(path)
    path = path / "report.json" if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read the report {path}: {_reason(error)}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read the report {path}: it is not text") from error
    try:
        return from_json(text)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _make(folder: Path) -> list[Path]:
    """Make the folder; the folders that were not there before, innermost first."""
    missing = [p for p in (folder, *folder.parents) if not os.path.lexists(p)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UserError(f"{folder} is a file; name a folder for the report") from error
    except NotADirectoryError as error:
        raise UserError(f"{folder} lies under a file; name a folder for the report") from error
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {_reason(error)}") from error
    return missing


def _write(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _clear(drafts: list[Path], made: list[Path]) -> None:
    """Remove what is left of a failed attempt: drafts, and folders made for it and still empty."""
    for draft in drafts:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    for empty in made:
        with suppress(OSError):
            empty.rmdir()
