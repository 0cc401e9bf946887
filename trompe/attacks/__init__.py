"""Attacks: a variable, a goal, a budget and a solver."""

from trompe.attacks.gradient import APGD, BIM, FGSM, MIFGSM, PGD, RandFGSM

__all__ = ["APGD", "BIM", "FGSM", "MIFGSM", "PGD", "RandFGSM"]
