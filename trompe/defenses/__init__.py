"""Defences: models around models, with the same call."""

from trompe.defenses.detectors import ReconstructionError
from trompe.defenses.guarded import Guarded
from trompe.defenses.reconstruct import Reconstruct

__all__ = ["Guarded", "Reconstruct", "ReconstructionError"]
