"""Where trained weights lie: one file of weights and one card for each hash, made once.

The card is written last, so that weights without one are an unfinished training. A lock keeps two processes
from training the same thing at the same time; it dies with its holder.
"""

import hashlib
import json
import logging
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trompe.core.errors import UserError
from trompe.training import checkpoint

__all__ = ["Fit", "digest", "keep", "read_card", "root", "told", "weights_path"]

logger = logging.getLogger("trompe.zoo")
Fit = Callable[[Path], Mapping[str, Any]]
"""Trains a module in place, keeping what it resumes from in the folder; returns its part of the card."""


def root(given: Path | str | None = None) -> Path:
    """Where checkpoints lie: `given`, else `TROMPE_CACHE`, else the user's cache folder."""
    if given is not None:
        return Path(given).expanduser()
    if chosen := os.environ.get("TROMPE_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "trompe" / "zoo"


def told(settings: Any) -> Any:
    """Settings as plain values; of a dataclass its kind and the fields that are not at their default.

    A field that a later version adds, with a default that changes nothing, so leaves every hash as it was. A
    default that is edited does too: whoever changes one changes `PROCEDURE` in `zoo.recipes` with it.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Net:
    ...     width: int = 8
    ...     depth: int = 2
    >>> told(Net(depth=3))
    {'kind': 'Net', 'depth': 3}
    """
    if not is_dataclass(settings) or isinstance(settings, type):
        return settings
    kept = {}
    for part in fields(settings):
        value = getattr(settings, part.name)
        default = part.default_factory() if callable(part.default_factory) else part.default
        if default is MISSING or value != default:
            kept[part.name] = told(value)
    return {"kind": type(settings).__name__, **kept}


def digest(content: Any) -> str:
    """sha256, in hexadecimal, of values that JSON can hold; dataclasses among them as `told` has them."""
    text = json.dumps(content, sort_keys=True, default=told)
    return hashlib.sha256(text.encode()).hexdigest()


def weights_path(name: str, key: str, given: Path | str | None = None) -> Path:
    """Where weights lie, or will: `NAME-HASH.safetensors`."""
    return root(given) / f"{name}-{key[:16]}.safetensors"


def keep(
    name: str,
    settings: Mapping[str, Any],
    module: nn.Module,
    fit: Fit,
    *,
    root: Path | str | None = None,
) -> nn.Module:
    """The module with the weights that these settings lead to, in eval mode: loaded, or made by `fit`.

    For what is trained by more than a recipe: a model and an attack in one loop, a judge of features.

    Args:
        name: what the files are called.
        settings: everything that the weights depend on; its hash names them.
        module: freshly made; it receives the weights.
        fit: trains `module` in place; called only if the weights are not there.
        root: the cache; see `root`.

    Raises:
        UserError: damaged weights, weights of another shape, a cache that cannot be written.

    >>> from tempfile import TemporaryDirectory
    >>> net = nn.Linear(1, 1)
    >>> def fit(folder):
    ...     nn.init.constant_(net.weight, 3.0)
    ...     return {"steps": 1}
    >>> with TemporaryDirectory() as folder:
    ...     _ = keep("three", {"to": 3}, net, fit, root=folder)
    ...     again = keep("three", {"to": 3}, nn.Linear(1, 1), fit, root=folder)
    >>> again.weight.item()
    3.0
    """
    key = digest(settings)
    target = weights_path(name, key, root)
    if not _complete(target):
        with _lock(target):
            if not _complete(target):
                _make(target, key, settings, module, fit)
    weights, _ = checkpoint.load_tensors(target)
    try:
        module.load_state_dict(weights)
    except RuntimeError:
        raise UserError(f"{target} does not fit its recipe; delete it to train anew") from None
    return module.eval()


def read_card(target: Path) -> dict[str, Any]:
    """The card beside the weights.

    Raises:
        UserError: there are none yet.
    """
    if not _complete(target):
        raise UserError(f"{target.stem} has not been trained; `zoo.get` trains it")
    return json.loads(_card(target).read_text())  # type: ignore[no-any-return]


def _make(target: Path, key: str, settings: Mapping[str, Any], module: nn.Module, fit: Fit) -> None:
    """Train; then write the weights, and then the card."""
    partial = target.with_suffix(".partial")
    content = {
        "schema": 1,
        "settings": json.loads(json.dumps(settings, default=told)),
        "hash": key,
        **fit(partial),
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in module.parameters()),
        "versions": _versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    checkpoint.save_tensors(target, module.state_dict(), {"hash": key})
    text = json.dumps(content, indent=2) + "\n"
    checkpoint.replace(_card(target), lambda file: file.write_text(text))
    shutil.rmtree(partial, ignore_errors=True)


def _card(target: Path) -> Path:
    return target.with_suffix(".json")


def _complete(target: Path) -> bool:
    """Whether the training ended: the card is written last."""
    return target.is_file() and _card(target).is_file()


@contextmanager
def _lock(target: Path) -> Iterator[None]:
    """One process at a time; the lock dies with its holder."""
    from filelock import FileLock, Timeout

    if target.parent.exists() and not target.parent.is_dir():
        raise UserError(f"{target.parent} is a file; the cache of trained models needs a folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("another process trains %s: waiting for it", target.stem)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("trompe", "torch", "numpy", "safetensors", "lightning-fabric"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
