"""Attacks: a variable, a goal, a budget and a solver."""

from trompe.attacks.adaptive import BPDA, EOT, StraightThrough
from trompe.attacks.gradient import APGD, APGDT, BIM, FGSM, MIFGSM, PGD, RandFGSM
from trompe.attacks.peers import ARTAttack, AutoAttack, FoolboxAttack
from trompe.attacks.query import Square

__all__ = [
    "APGD",
    "APGDT",
    "BIM",
    "BPDA",
    "EOT",
    "FGSM",
    "MIFGSM",
    "PGD",
    "ARTAttack",
    "AutoAttack",
    "FoolboxAttack",
    "RandFGSM",
    "Square",
    "StraightThrough",
]
