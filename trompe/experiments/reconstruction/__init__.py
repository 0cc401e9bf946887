"""Defence by reconstruction (Hlihor, Volpi & Malago 2020)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["summary"]


def summary(found: "dict[str, list[Record]]") -> str:
    """What the paper's claims come to, from the records of all items, for the head of its page."""
    from trompe.experiments.reconstruction._summary_page import rendered

    return rendered(found)
