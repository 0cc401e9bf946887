"""The audit of a radio link: how reliable it is, and what attackers at the channel do to it."""

from trompe.audit.links.plan import LinkPlan
from trompe.audit.links.run import LinkEstimate, audit_link, estimate_link, named_link

__all__ = ["LinkEstimate", "LinkPlan", "audit_link", "estimate_link", "named_link"]
