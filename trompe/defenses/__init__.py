"""Defences: models around models, with the same call."""

from trompe.defenses.adversarial import (
    AdversarialStep,
    LogitPairingStep,
    Strengthened,
    strengthened,
)
from trompe.defenses.detectors import ReconstructionError
from trompe.defenses.guarded import Guarded, Rejecting
from trompe.defenses.links import Averaged, Bank, Key, Keyed, LinkStep, phases, rotations
from trompe.defenses.magnet import Collection, OutputDivergence, magnet
from trompe.defenses.reconstruct import Reconstruct
from trompe.defenses.squeeze import BitDepth, FeatureSqueezing, MedianSmoothing, SmoothBitDepth
from trompe.defenses.tamper import Mahalanobis, OutputUncertainty, Tail

__all__ = [
    "AdversarialStep",
    "Averaged",
    "Bank",
    "BitDepth",
    "Collection",
    "FeatureSqueezing",
    "Guarded",
    "Key",
    "Keyed",
    "LinkStep",
    "LogitPairingStep",
    "Mahalanobis",
    "MedianSmoothing",
    "OutputDivergence",
    "OutputUncertainty",
    "Reconstruct",
    "ReconstructionError",
    "Rejecting",
    "SmoothBitDepth",
    "Strengthened",
    "Tail",
    "magnet",
    "phases",
    "rotations",
    "strengthened",
]
