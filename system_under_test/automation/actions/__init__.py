"""One action a file. An action may run twice for one execution, so each says why that does no harm."""

from system_under_test.automation.actions.assign_user import assign_user
from system_under_test.automation.actions.create_deal import create_deal
from system_under_test.automation.actions.escalate import escalate
from system_under_test.automation.actions.job import Action
from system_under_test.automation.actions.move_stage import move_stage
from system_under_test.automation.actions.notify import notify

ACTIONS: dict[str, Action] = {
    "assign_user": assign_user,
    "create_deal": create_deal,
    "escalate": escalate,
    "move_stage": move_stage,
    "notify": notify,
}
DEFERRED = frozenset({"escalate"})
"""Actions that wait for a timer first."""
