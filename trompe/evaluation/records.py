"""Results as data: one record per cell of a table, with everything needed to reproduce it."""

import json
import math
import os
import platform
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trompe.core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "SCHEMA",
    "Record",
    "read_records",
    "replace_file",
    "versions",
    "wilson",
    "write_records",
]

SCHEMA = 2
"""Since 2 what all records of a file share is written once."""


@cache
def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    found = {"python": platform.python_version()}
    for name in ("trompe", "torch", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def wilson(successes: float, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's score interval for a proportion, 95% by default.

    `(p + z^2/2n +- z sqrt(p (1-p) / n + z^2 / 4n^2)) / (1 + z^2/n)` (Wilson 1927). Of no trials nothing
    is known: (0, 1).

    >>> [round(edge, 3) for edge in wilson(90, 100)]
    [0.826, 0.945]
    """
    if n == 0:
        return 0.0, 1.0
    p, width = successes / n, z * z / n
    middle = p + width / 2
    spread = z * math.sqrt(p * (1 - p) / n + width / (4 * n))
    low, high = (middle - spread) / (1 + width), (middle + spread) / (1 + width)
    return max(0.0, min(low, p)), min(1.0, max(high, p))  # rounding apart, p lies between them


@dataclass(frozen=True)
class Record:
    """One measured value.

    Args:
        metric: what the value is, in the field's words ("robust accuracy", "AUDDC").
        value: the number itself.
        n: how many examples it rests on.
        low, high: its interval, of the kind named by `interval`; None where there is none.
        subject: the model or defence that was measured.
        attack: the attack's configuration as printed; empty for clean measurements.
        threat: one sentence that says what the attacker knows and may do.
        eps, norm: the budget, in the units of the input; None and empty where there is none.
        counts: outcomes: correct, wrong, rejected.
        extra: further scalars of the same cell (mean distances, survival of 8-bit files).
        config: everything needed to run it again.
        forwards, backwards: passes of one example through the model.
    """

    metric: str
    value: float
    n: int
    low: float | None = None
    high: float | None = None
    interval: str = ""
    subject: str = ""
    attack: str = ""
    threat: str = ""
    eps: float | None = None
    norm: str = ""
    paper: str = ""
    item: str = ""
    scale: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    extra: Mapping[str, float] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    seconds: float = 0.0
    forwards: int = 0
    backwards: int = 0
    versions: Mapping[str, str] = field(default_factory=versions)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @classmethod
    def rate(cls, metric: str, successes: float, n: int, **rest: Any) -> "Record":
        """A proportion with its Wilson 95% interval.

        On a random model an example counts by its share of draws. `n` stays the number of examples: such
        shares vary less between examples than wins and losses would, so the interval errs on the wide side.
        """
        low, high = wilson(successes, n)
        value = successes / n if n else math.nan
        return cls(metric, value, n, low, high, "Wilson 95%", **rest)

    @classmethod
    def mean(
        cls, metric: str, values: "Tensor", *, interval: str = "normal 95%", **rest: Any
    ) -> "Record":
        """A mean of one number per example with its normal 95% interval, which a single one does not have."""
        n = len(values)
        middle = float(values.double().mean()) if n else math.nan
        if n < 2:
            return cls(metric, middle, n, **rest)
        half = 1.96 * float(values.double().std()) / math.sqrt(n)
        return cls(metric, middle, n, middle - half, middle + half, interval, **rest)

    @classmethod
    def difference(cls, metric: str, one: "Tensor", other: "Tensor", **rest: Any) -> "Record":
        """How much more `one` is than `other`, paired example by example, with a 95% interval.

        For differences d of shares in [-1, 1], half an example for and half against is added, and one
        that says nothing, so that agreement in all of n examples is not taken for certainty:
        `m +- 1.96 sqrt((v - m^2) / (n + 2))` with `m = sum d / (n + 2)` and `v = (sum d^2 + 1) / (n + 2)`
        (Agresti & Min 2005, "Simple improved confidence intervals for comparing matched proportions").

        Raises:
            UserError: the two differ in length, or hold no example.

        >>> from torch import ones
        >>> same = Record.difference("gap", ones(500), ones(500))
        >>> same.value, round(same.low, 4), round(same.high, 4)
        (0.0, -0.0039, 0.0039)
        """
        if one.shape != other.shape or not len(one):
            raise UserError(f"cannot pair {len(one)} examples with {len(other)}")
        d = one.double() - other.double()
        return cls.paired(metric, float(d.sum()), float(d.square().sum()), len(d), **rest)

    @classmethod
    def paired(cls, metric: str, total: float, squares: float, n: int, **rest: Any) -> "Record":
        """As `difference`, of n differences that are known by their sum and the sum of their squares.

        >>> Record.paired("gap", 3 - 1, 3 + 1, n=500).value  # three examples for, one against
        0.004
        """
        value = total / n
        middle, square = total / (n + 2), (squares + 1) / (n + 2)
        half = 1.959963984540054 * math.sqrt(max(square - middle**2, 0.0) / (n + 2))
        low, high = min(value, middle - half), max(value, middle + half)
        return cls(metric, value, n, low, high, "paired 95% (Agresti-Min)", **rest)


def _to_json(record: Record) -> dict[str, Any]:
    return {key: _plain(value) for key, value in asdict(record).items()}


def _plain(value: Any) -> Any:
    """What JSON can hold: NaN and infinities become null, and other things what they print."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if getattr(value, "ndim", None) == 0:  # a scalar of NumPy or torch
        return _plain(value.item())
    return value if value is None or isinstance(value, str | int) else str(value)


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name and rename it: it is there whole, or not at all.

    What is there and no ordinary file, such as a device, is written to and never replaced.

    Raises:
        UserError: the file cannot be written; what was there before still is.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None


def write_records(path: Path | str, records: Iterable[Record]) -> None:
    """Write an item's records as one JSON file, atomically: what they share once, then a line for each.

    Raises:
        UserError: the file cannot be written; nothing is left half-written.
    """
    rows = [_to_json(record) for record in records]
    shared = _shared(rows) | {"config": _shared([row["config"] for row in rows])}
    own = [
        _without(row, shared) | {"config": _without(row["config"], shared["config"])}
        for row in rows
    ]
    lines = ",\n  ".join(json.dumps(row, allow_nan=False) for row in own)
    head = json.dumps({"schema": SCHEMA, "shared": shared}, indent=1, allow_nan=False)
    replace_file(Path(path), f'{head[:-2]},\n "records": [\n  {lines}\n ]\n}}\n')


def _shared(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The entries that all rows have, of the same kind, too: True is not 1. One row shares nothing."""
    first = rows[0] if len(rows) > 1 else {}

    def same(value: Any, other: Any) -> bool:
        return bool(value == other) and json.dumps(value) == json.dumps(other)

    return {
        key: value
        for key, value in first.items()
        if all(key in row and same(value, row[key]) for row in rows)
    }


def _without(row: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in shared}


def read_records(path: Path | str) -> list[Record]:
    """Read what `write_records` wrote, in this schema or an earlier one.

    Raises:
        UserError: a missing or damaged file, or one of another schema.
    """
    try:
        body = json.loads(Path(path).read_text())
        if body["schema"] not in range(1, SCHEMA + 1):
            raise UserError(f"{path} has schema {body['schema']}, this version reads {SCHEMA}")
        known, shared = {f.name for f in fields(Record)}, body.get("shared", {})
        rows = []
        for own in body["records"]:
            config = {**shared.get("config", {}), **own.get("config", {})}
            row = {k: v for k, v in {**shared, **own, "config": config}.items() if k in known}
            rows.append(Record(**{**row, "value": _number(row["value"])}))
        return rows
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except UserError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError):  # not JSON, not text, or not ours
        raise UserError(f"{path} is not a file of records") from None


def _number(value: float | None) -> float:
    return math.nan if value is None else value
