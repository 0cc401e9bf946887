"""Per-example outcomes, kept on disk as they arise, so that a run goes on where it stopped."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.evaluation.records import replace_file

__all__ = ["Case", "Log", "fingerprint", "tensor_digest", "weights_digest"]


@dataclass(frozen=True)
class Case:
    """What happened to one example.

    Args:
        index: its place in the data.
        label: its class.
        clean: share of draws on which the clean input is classified correctly and accepted.
        clean_wrong: share on which it is misclassified and accepted.
        level: position in the sweep of radii at which an attack first made it worse; -1 if none did.
        attack: name of the attack that found its worst input; empty if none did.
        shares: per radius, under the worst input so far, the shares of draws that are (correct, wrong,
            rejected, wrong on the input as delivered), and 1 if any draw was wrong.
        distances: per radius, norms of the perturbation of the worst input; empty where none was found.
        alone: per attack that was measured alone, and per radius, the same shares under what it found
            there, and last the share of wrong on the draws by which inputs are chosen.
    """

    index: int
    label: int
    clean: float
    clean_wrong: float
    level: int = -1
    attack: str = ""
    shares: Sequence[Sequence[float]] = ()
    distances: Sequence[Mapping[str, float]] = ()
    alone: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)


def weights_digest(model: nn.Module) -> str:
    """A hash of a model: its parameters and buffers, its printed structure, and its modules' settings.

    Settings are the plain values (numbers, words, tuples of them) that modules keep as attributes.
    """
    digest = hashlib.sha256(repr(model).encode())
    for name, module in model.named_modules():
        plain = {k: v for k, v in sorted(vars(module).items()) if _is_plain(v)}
        digest.update(f"{name} {type(module).__qualname__} {plain}".encode())
    for name, values in sorted(model.state_dict().items()):
        digest.update(name.encode())
        if isinstance(values, Tensor):
            digest.update(tensor_digest(values).encode())
    return digest.hexdigest()[:16]


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, int | float | str)


def tensor_digest(*tensors: Tensor) -> str:
    """A hash of the values, shapes and types of tensors."""
    digest = hashlib.sha256()
    for values in tensors:
        digest.update(f"{values.dtype}{tuple(values.shape)}".encode())
        flat = values.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def fingerprint(**parts: Any) -> str:
    """A hash of everything that an outcome depends on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


class Log:
    """Batches of cases and their costs, appended to a file one line a batch.

    A file that begins with another fingerprint is another run's, and is started afresh; a last line cut
    short by a kill is dropped. Without a path the log lives in memory.

    Raises:
        UserError: the file cannot be read or written.
    """

    def __init__(self, path: Path | str | None, mark: str) -> None:
        self.path = None if path is None else Path(path)
        self.mark = mark
        self.batches: list[dict[str, Any]] = [] if self.path is None else _kept(self.path, mark)
        self._write()

    def keep(self, count: int) -> Self:
        """Forget all batches but the first `count`."""
        if count < len(self.batches):
            self.batches = self.batches[:count]
            self._write()
        return self

    def _write(self) -> None:
        if self.path is not None:
            rows = [{"fingerprint": self.mark}, *self.batches]
            replace_file(self.path, "".join(json.dumps(row) + "\n" for row in rows))

    def holds(self, number: int, data: str) -> bool:
        """Whether batch `number` is there and was made of the data with that digest."""
        return number < len(self.batches) and self.batches[number]["data"] == data

    def add(
        self, cases: Iterable[Case], stages: Sequence[Mapping[str, Any]], data: str = ""
    ) -> Self:
        """Append one batch; it is on disk when this returns."""
        row = {"data": data, "cases": [asdict(case) for case in cases], "stages": list(stages)}
        self.batches.append(row)
        if self.path is not None:
            try:
                with self.path.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise UserError(f"cannot write {self.path}: {error.strerror or error}") from None
        return self

    @property
    def cases(self) -> list[Case]:
        """All cases so far, in the order of the data."""
        return [Case(**row) for batch in self.batches for row in batch["cases"]]


def _kept(path: Path, mark: str) -> list[dict[str, Any]]:
    """The whole batches of an earlier run with that fingerprint."""
    try:
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        head, *rows = [json.loads(line) for line in lines] or [{}]
        whole = all({"data", "cases", "stages"} <= row.keys() for row in rows)
        return rows if whole and head.get("fingerprint") == mark else []
    except (ValueError, AttributeError):  # damaged, or something else: not ours to go on with
        return []
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
