"""Attacks: a variable, a goal, a budget and a solver."""

from trompe.attacks.gradient import APGD, APGDT, BIM, FGSM, MIFGSM, PGD, RandFGSM

__all__ = ["APGD", "APGDT", "BIM", "FGSM", "MIFGSM", "PGD", "RandFGSM"]
