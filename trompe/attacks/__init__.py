"""Attacks: a variable, a goal, a budget and a solver."""

from trompe.attacks.adaptive import BPDA, EOT, StraightThrough
from trompe.attacks.autoencoder import (
    LatentAttack,
    LatentClassifierAttack,
    OutputAttack,
    Penalty,
)
from trompe.attacks.carlini_wagner import CW, ProjectedCW
from trompe.attacks.decoupled import DDN
from trompe.attacks.deepfool import DeepFool
from trompe.attacks.elastic_net import EAD
from trompe.attacks.elbo import ElboAttack
from trompe.attacks.gradient import APGD, APGDT, BIM, FGSM, MIFGSM, PGD, RandFGSM
from trompe.attacks.peers import ARTAttack, AutoAttack, FoolboxAttack
from trompe.attacks.query import Square
from trompe.attacks.singular import SingularDirection
from trompe.attacks.transfer import Transfer

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
    "AutoAttack",
    "DeepFool",
    "ElboAttack",
    "FoolboxAttack",
    "LatentAttack",
    "LatentClassifierAttack",
    "OutputAttack",
    "Penalty",
    "ProjectedCW",
    "RandFGSM",
    "SingularDirection",
    "Square",
    "StraightThrough",
    "Transfer",
]
