"""The main job: a victim in, a report out."""

from trompe.audit.cost import Estimate
from trompe.audit.plan import Plan
from trompe.audit.run import audit, estimate
from trompe.audit.victim import victim

__all__ = ["Estimate", "Plan", "audit", "estimate", "victim"]
