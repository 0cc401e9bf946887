"""Autoencoder communication: one perturbation for every message (Sadeghi & Larsson 2019)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["TINY", "summary"]

TINY = True
"""The networks are so small that a second thread slows them down."""


def summary(found: "dict[str, list[Record]]") -> str:
    """What the claims come to, from the records of all items, for the head of the page."""
    from trompe.experiments.comms._summary_page import rendered

    return rendered(found)
