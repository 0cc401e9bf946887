"""The main job: a victim in, a report out; the victim may be a radio link."""

from trompe.audit.cost import Estimate
from trompe.audit.links import LinkPlan, audit_link, estimate_link
from trompe.audit.plan import Plan
from trompe.audit.run import audit, estimate
from trompe.audit.victim import victim

__all__ = [
    "Estimate",
    "LinkPlan",
    "Plan",
    "audit",
    "audit_link",
    "estimate",
    "estimate_link",
    "victim",
]
