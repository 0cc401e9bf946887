"""Per-example outcomes, kept on disk as they arise, so that a run goes on where it stopped."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from torch import nn

from trompe.core.errors import UserError

__all__ = ["Case", "Log", "fingerprint", "weights_digest"]


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
        distances: norms of the perturbation of the worst input.
    """

    index: int
    label: int
    clean: float
    clean_wrong: float
    level: int = -1
    attack: str = ""
    shares: Sequence[Sequence[float]] = ()
    distances: Mapping[str, float] = field(default_factory=dict)


def weights_digest(model: nn.Module) -> str:
    """A hash of a model's parameters and buffers, and of its printed structure."""
    digest = hashlib.sha256(repr(model).encode())
    for name, values in sorted(model.state_dict().items()):
        digest.update(name.encode())
        if hasattr(values, "detach"):
            digest.update(
                values.detach().cpu().contiguous().flatten().view(-1).float().numpy().tobytes()
            )
    return digest.hexdigest()[:16]


def fingerprint(**parts: Any) -> str:
    """A hash of everything that an outcome depends on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


class Log:
    """Batches of cases and their costs, appended to a file one line a batch.

    A file that begins with another fingerprint is another run's, and is started afresh; a last line cut
    short by a kill is dropped. Without a path the log lives in memory.
    """

    def __init__(self, path: Path | str | None, mark: str) -> None:
        self.path = None if path is None else Path(path)
        self.batches: list[dict[str, Any]] = []
        if self.path is not None:
            self._open(self.path, mark)

    def _open(self, path: Path, mark: str) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_text().split("\n")[:-1] if path.exists() else []
            rows = [json.loads(line) for line in lines]
            if rows and rows[0].get("fingerprint") == mark:
                self.batches = rows[1:]
            kept = [{"fingerprint": mark}, *self.batches]
            path.write_text("".join(json.dumps(row) + "\n" for row in kept))
        except json.JSONDecodeError:
            path.write_text(json.dumps({"fingerprint": mark}) + "\n")
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from None

    def add(self, cases: Iterable[Case], stages: Sequence[Mapping[str, Any]]) -> Self:
        """Append one batch; it is on disk when this returns."""
        row = {"cases": [asdict(case) for case in cases], "stages": list(stages)}
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
