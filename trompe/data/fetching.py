"""Download, verify and list data sets."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from trompe.core.errors import UserError
from trompe.data import celeba, idx, published, signs
from trompe.data.digits import CHECKSUMS, digits
from trompe.data.loading import load
from trompe.data.published import SETS, File, Published, locate
from trompe.data.toy import COUNT, TOYS

__all__ = ["Row", "State", "fetch", "listing", "verify"]

CHUNK = 1 << 18
TIMEOUT = 30.0  # seconds without a byte
EMBEDDED = "in scikit-learn"

Progress = Callable[[str, int, int | None], None]


class State(NamedTuple):
    """One file of a set and its state: "ok", or a few words on what is wrong."""

    file: str
    state: str


class Row(NamedTuple):
    """One line of the list of data sets."""

    name: str
    title: str
    shape: tuple[int, ...]
    train: int
    test: int
    classes: int
    state: str
    place: str
    licence: str


DIGITS = Row(
    "digits",
    "Handwritten digits (Alpaydin, Kaynak 1998)",
    *((1, 8, 8), 1442, 355, 10),
    *("embedded", EMBEDDED, "CC BY 4.0"),
)


def fetch(
    name: str,
    root: Path | str | None = None,
    base_url: str | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Download what is missing or damaged of a published set; return its files.

    A broken download is resumed from its `.part` file (HTTP Range); a file gets its final name
    only when the sha256 of its decompressed content is the published one.

    Args:
        name: "mnist", "fashion-mnist" or "svhn" ("digits" is embedded: nothing to do).
        root: where data lies; else `TROMPE_DATA`, else the user's cache.
        base_url: a mirror's address, http or https, that holds the publisher's files.
        progress: called with (file name, bytes so far, bytes in all or None).

    Raises:
        UserError: unknown set or one that may not be passed on, no connection, an answer other than
            the published content, or a folder that cannot be written.
    """
    if name == "digits":
        return []
    known = _known(name)
    base = (base_url or known.url).rstrip("/")
    if not base.startswith(("http://", "https://")):
        raise UserError(f"base_url must begin with http:// or https://, got {base!r}")
    folder = published.root(root) / name
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for file in _files(known):
        path = locate(folder, file)
        if path is None or _state(path, file) != "ok":
            path = folder / file.published_name
            _obtain(f"{base}/{path.name}", path, file, progress)
        paths.append(path)
    return paths


def verify(name: str | Path, root: Path | str | None = None) -> list[State]:
    """The state of each file of a set, or of a user's own source read as `load` would.

    >>> verify("digits")
    [State(file='in scikit-learn', state='ok')]
    """
    if name == "digits":
        same = all(digits(split).checksum == value for split, value in CHECKSUMS.items())
        return [State(EMBEDDED, "ok" if same else "differs from the digits Trompe was tested with")]
    if name == celeba.NAME:
        folder = published.root(root) / celeba.NAME
        return [State(str(file), state) for file, state in celeba.states(folder)]
    if str(name) not in SETS:
        return [State(str(name), _trial(name, root))]
    folder = published.root(root) / name
    states = []
    for file in _files(SETS[str(name)]):
        path = locate(folder, file) or folder / file.published_name
        states.append(State(str(path), _state(path, file)))
    return states


def listing(root: Path | str | None = None) -> list[Row]:
    """What `load` knows by name, and whether it is at hand (files are looked for, not read)."""
    rows = [DIGITS]
    for known in SETS.values():
        folder = published.root(root) / known.name
        train, test = (known.files[split][0].shape[0] for split in ("train", "test"))
        state = _presence(known, folder)
        sizes = known.shape, train, test, len(known.classes)
        rows.append(Row(known.name, known.title, *sizes, state, str(folder), known.licence))
    rows += [_signs(known, published.root(root) / known.name) for known in signs.SIGNS.values()]
    return [*rows, _celeba(published.root(root) / celeba.NAME), *map(_toy, TOYS)]


def _toy(name: str) -> Row:
    shape = TOYS[name].rule.shape
    return Row(name, "A toy whose oracle is known", shape, COUNT, COUNT, 2, "drawn", "nowhere", "")


def _signs(known: signs.Signs, folder: Path) -> Row:
    """The sizes are those of the whole benchmark; a part of it may be at hand."""
    try:
        state = "missing" if signs.held(known, folder).kind == "nothing" else "present"
    except UserError:
        state = "damaged"
    sizes = (3, signs.SIDE, signs.SIDE), *known.counts, known.classes
    return Row(known.name, known.title, *sizes, state, str(folder), "research, none stated")


def _celeba(folder: Path) -> Row:
    try:
        found = celeba.held(folder)
        state = "missing" if found.kind == "nothing" else "present"
    except UserError:
        found, state = celeba.Held("damaged", (), 0, 0), "damaged"
    sizes = (3, celeba.SIDE, celeba.SIDE), found.train, found.test, 2
    return Row(celeba.NAME, celeba.TITLE, *sizes, state, str(folder), "research only")


def _known(name: str) -> Published:
    if celeba.is_celeba(name):
        raise UserError(
            f"cannot fetch {name!r}: its terms forbid passing it on; ask for it at {celeba.WHERE} and "
            f"put its files into the folder celeba/ of your data (`trompe data list` shows where)"
        )
    if name in signs.SIGNS:
        raise UserError(
            f"cannot fetch {name!r}, which comes in large archives; get them at "
            f"{signs.SIGNS[name].where} and unpack them into the folder {name}/ of your data "
            "(`trompe data list` shows where)"
        )
    if name not in SETS:
        raise UserError(f"cannot fetch {name!r}; published sets are {', '.join(SETS)}")
    return SETS[name]


def _files(known: Published) -> list[File]:
    return [file for pair in known.files.values() for file in pair]


def _presence(known: Published, folder: Path) -> str:
    found = [locate(folder, file) is not None for file in _files(known)]
    return "present" if all(found) else "incomplete" if any(found) else "missing"


def _trial(spec: str | Path, root: Path | str | None) -> str:
    try:
        load(spec, root=root)
    except UserError as error:
        return str(error)
    return "ok"


def _state(path: Path, file: File) -> str:
    if not path.is_file():
        part = _part(path)
        return f"missing ({part.stat().st_size} bytes fetched)" if part.exists() else "missing"
    try:
        data = idx.content(path)
        file.decode(data, path)
    except UserError as error:
        return str(error)
    same = hashlib.sha256(data).hexdigest() == file.sha256
    return "ok" if same else "differs from what was published"


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _obtain(url: str, path: Path, file: File, progress: Progress | None) -> None:
    part = _part(path)
    for _ in range(2 if part.exists() else 1):  # a stale part may spoil the first attempt
        _download(url, part, progress)
        if _state(part, file) == "ok":
            with _writing(path):
                os.replace(part, path)
            return
        part.unlink()
    raise UserError(
        f"{url} is not the published {file.name} (sha256 of its content differs); "
        "try another mirror with base_url"
    )


def _download(url: str, part: Path, progress: Progress | None) -> None:
    done = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 (http or https only)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and done:
                return  # nothing is left to fetch; the caller compares
            raise UserError(f"{url} answered {error.code} {error.reason}; try base_url") from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, part, error) from error
    with response:
        if response.status != http.client.PARTIAL_CONTENT:
            done = 0
        length = response.headers.get("Content-Length")
        total = None if length is None else done + int(length)
        with _writing(part), part.open("ab" if done else "wb") as out:
            for chunk in _chunks(response, url, part):
                out.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(part.stem, done, total)
    if total is not None and done < total:
        raise UserError(
            f"{url} broke off after {done} of {total} bytes; run the same command to resume"
        )


def _chunks(response: http.client.HTTPResponse, url: str, part: Path) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(url, part, error) from error
        if not chunk:
            return
        yield chunk


def _unreachable(url: str, part: Path, error: Exception) -> UserError:
    reason = getattr(error, "reason", None) or error
    return UserError(
        f"could not fetch {url} ({reason}); check the connection and run the same command to "
        f"resume, or copy the file to {part.with_suffix('')}"
    )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"could not write {path}: {error.strerror}") from error
