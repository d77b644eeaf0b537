"""IAM policy: documents, and what they decide. Pure: no clock, no store, no network.

parse_policy(document, kind) → Policy          once for each document
evaluate(request, policies)  → Decision        a few microseconds
"""

from lambent.model.policy.document import (
    DocumentKind,
    Effect,
    MalformedPolicy,
    Policy,
    parse_policy,
    refuse_everything,
)
from lambent.model.policy.evaluation import (
    Decision,
    Outcome,
    Place,
    Policies,
    Request,
    context_of,
    denial_message,
    evaluate,
)
from lambent.model.policy.pattern import Context
from lambent.model.policy.principal import ANONYMOUS, Kind, Principal, role_session, root, service, user

__all__ = [
    "ANONYMOUS", "Context", "Decision", "DocumentKind", "Effect", "Kind", "MalformedPolicy", "Outcome",
    "Place", "Policies", "Policy", "Principal", "Request", "context_of", "denial_message", "evaluate", "parse_policy", "refuse_everything",
    "role_session", "root", "service", "user",
]  # fmt: skip
