"""Defences: models around models, with the same call."""

from trompe.defenses.guarded import Guarded, ReconstructionError
from trompe.defenses.reconstruct import Reconstruct

__all__ = ["Guarded", "Reconstruct", "ReconstructionError"]
