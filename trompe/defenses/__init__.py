"""Defences: models around models, with the same call."""

from trompe.defenses.detectors import ReconstructionError
from trompe.defenses.guarded import Guarded
from trompe.defenses.reconstruct import Reconstruct
from trompe.defenses.tamper import Mahalanobis, OutputUncertainty, Tail

__all__ = [
    "Guarded",
    "Mahalanobis",
    "OutputUncertainty",
    "Reconstruct",
    "ReconstructionError",
    "Tail",
]
