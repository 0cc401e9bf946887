"""The harness: measure outside the attack, and check what was measured."""

from trompe.evaluation.checks import Check, Diagnosis, doctor
from trompe.evaluation.evaluate import Result, evaluate
from trompe.evaluation.likelihood import elbo, importance_weighted, marginal_likelihood
from trompe.evaluation.records import Record, read_records, wilson, write_records

__all__ = [
    "Check",
    "Diagnosis",
    "Record",
    "Result",
    "doctor",
    "elbo",
    "evaluate",
    "importance_weighted",
    "marginal_likelihood",
    "read_records",
    "wilson",
    "write_records",
]
