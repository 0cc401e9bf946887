"""Attacks: a variable, a goal, a budget and a solver."""

from trompe.attacks.adaptive import BPDA, EOT, Still, StraightThrough
from trompe.attacks.arrival import Arrival, Jamming
from trompe.attacks.autoencoder import (
    LatentAttack,
    LatentClassifierAttack,
    OutputAttack,
    Penalty,
)
from trompe.attacks.carlini_wagner import CW, ProjectedCW
from trompe.attacks.decoupled import DDN
from trompe.attacks.deepfool import DeepFool
from trompe.attacks.detector_aware import DetectorAware
from trompe.attacks.elastic_net import EAD
from trompe.attacks.elbo import ElboAttack
from trompe.attacks.evasion import evading, watched
from trompe.attacks.gradient import APGD, APGDT, BIM, FGSM, MIFGSM, PGD, RandFGSM
from trompe.attacks.ladder import ladder
from trompe.attacks.latent_start import LatentStart
from trompe.attacks.latent_type_one import LatentTypeI
from trompe.attacks.level_set import LevelSet, NullSpace
from trompe.attacks.peers import ARTAttack, AutoAttack, FoolboxAttack
from trompe.attacks.poisoning import PoisoningStep
from trompe.attacks.query import Square
from trompe.attacks.score_shift import ScoreShift
from trompe.attacks.singular import SingularDirection
from trompe.attacks.trajectories import Trajectory
from trompe.attacks.transfer import Transfer
from trompe.attacks.transition import ImageTransition
from trompe.attacks.type_one import TypeI
from trompe.attacks.universal import Goal, NormPenalty, Perturbation, ShiftStep, Universal
from trompe.attacks.universal_search import IterativeUniversal, PrincipalUniversal, direct
from trompe.attacks.verification import VerificationFGSM, VerificationPGD

__all__ = [
    "APGD",
    "APGDT",
    "BIM",
    "BPDA",
    "CW",
    "DDN",
    "EAD",
    "EOT",
    "FGSM",
    "MIFGSM",
    "PGD",
    "ARTAttack",
    "Arrival",
    "AutoAttack",
    "DeepFool",
    "DetectorAware",
    "ElboAttack",
    "FoolboxAttack",
    "Goal",
    "ImageTransition",
    "IterativeUniversal",
    "Jamming",
    "LatentAttack",
    "LatentClassifierAttack",
    "LatentStart",
    "LatentTypeI",
    "LevelSet",
    "NormPenalty",
    "NullSpace",
    "OutputAttack",
    "Penalty",
    "Perturbation",
    "PoisoningStep",
    "PrincipalUniversal",
    "ProjectedCW",
    "RandFGSM",
    "ScoreShift",
    "ShiftStep",
    "SingularDirection",
    "Square",
    "Still",
    "StraightThrough",
    "Trajectory",
    "Transfer",
    "TypeI",
    "Universal",
    "VerificationFGSM",
    "VerificationPGD",
    "direct",
    "evading",
    "ladder",
    "watched",
]
