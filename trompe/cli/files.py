"""Writing what a command was asked for: whole or not at all."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from trompe.core.errors import UserError

__all__ = ["require_folder", "write_file", "write_folder"]


def require_folder(path: Path) -> Path:
    """A folder that is there or can be made; asked before the work is done, not after.

    Raises:
        UserError: it is a file, lies under one, or cannot be written.
    """
    path = path.expanduser()
    for place in (path, *path.parents):
        if not os.path.lexists(place):
            continue
        if not place.is_dir():
            where = "is a file" if place == path else f"lies under the file {place}"
            raise UserError(f"{path} {where}; name a folder")
        if not os.access(place, os.W_OK | os.X_OK):
            raise UserError(f"cannot write into {place}: permission denied")
        break
    return path


def write_file(path: Path, content: bytes) -> None:
    """One file, by a temporary name; what is no regular file (a device, a pipe) is written to.

    Raises:
        UserError: it cannot be written; what was there before stays.
    """
    path = path.expanduser()
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file")
    if path.exists() and not path.is_file():
        try:
            with path.open("wb") as stream:
                stream.write(content)
        except OSError as error:
            raise _refused(path, error) from error
        return
    require_folder(path.parent)
    write_folder(path.parent, {path.name: content})


def write_folder(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Several files into a folder: all are written under temporary names, then all are renamed.

    Raises:
        UserError: one cannot be written; then none is.
    """
    folder = require_folder(folder)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    drafts = {name: folder / f".{name}.{os.getpid()}.tmp" for name in files}
    done = False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            with drafts[name].open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        for name, draft in drafts.items():
            os.replace(draft, folder / name)
        done = True
    except OSError as error:
        raise _refused(folder, error) from error
    finally:
        for place in drafts.values():
            with suppress(OSError):
                place.unlink(missing_ok=True)
        for place in [] if done else made:
            with suppress(OSError):
                place.rmdir()
    return [folder / name for name in files]


def _refused(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {(error.strerror or str(error)).lower()}")
