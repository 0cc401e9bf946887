"""What can be reproduced: found by reading the folder, without importing any of it."""

import ast
import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trompe.core.errors import UserError

__all__ = ["Entry", "catalogue", "chosen", "listing", "paper_summary", "paper_title", "paper_trait"]

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Entry:
    """One table or figure of one paper."""

    paper: str
    item: str
    title: str

    @property
    def name(self) -> str:
        """As it is asked for: `paper/item`."""
        return f"{self.paper}/{self.item}"

    def load(self) -> Any:
        """The item's module."""
        return importlib.import_module(f"trompe.experiments.{self.paper}.{self.item}")


def catalogue() -> tuple[Entry, ...]:
    """Every item, by name.

    >>> "baselines/agreement" in [entry.name for entry in catalogue()]
    True
    """
    files = sorted(_HERE.glob("*/[!_]*.py"))
    return tuple(Entry(file.parent.name, file.stem, _title(file)) for file in files)


def _title(file: Path) -> str:
    """The first line of the docstring."""
    text = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    return text.partition("\n")[0].rstrip(".")


def paper_title(paper: str) -> str:
    """What a paper's page is called: the first line that its folder says of itself.

    >>> paper_title("baselines")
    'Baselines: attacks that several libraries have, beside each other'
    """
    file = _HERE / paper / "__init__.py"
    return (file.exists() and _title(file)) or paper.replace("_", " ").capitalize()


def paper_summary(paper: str) -> Callable[[dict[str, list[Any]]], str] | None:
    """What a paper's folder makes of all its records, by item, for the head of the page; most have none.

    >>> paper_summary("baselines") is None
    True
    """
    found: Callable[[dict[str, list[Any]]], str] | None = paper_trait(paper, "summary")
    return found


def paper_trait(paper: str, name: str) -> Any:
    """What a paper's folder says under a name, such as that its networks are `TINY`; None if nothing.

    >>> paper_trait("baselines", "TINY"), paper_trait("comms", "TINY")
    (None, True)
    """
    if not (_HERE / paper / "__init__.py").exists():
        return None
    return getattr(importlib.import_module(f"trompe.experiments.{paper}"), name, None)


def listing() -> list[tuple[str, str]]:
    """Names and titles of all items, to be shown."""
    return [(entry.name, entry.title) for entry in catalogue()]


def chosen(target: str | None) -> list[Entry]:
    """The items that a paper's or an item's name stands for; None stands for all.

    Raises:
        UserError: no such paper or item.
    """
    known = catalogue()
    found = [e for e in known if target is None or target.strip("/") in (e.paper, e.name)]
    if not found:
        names = [*dict.fromkeys(e.paper for e in known), *(e.name for e in known)]
        near = difflib.get_close_matches(target or "", names, n=3, cutoff=0.3) or names
        raise UserError(f"there is no paper or item {target!r}; there are {', '.join(near)}")
    return found
