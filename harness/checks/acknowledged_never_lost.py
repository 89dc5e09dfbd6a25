"""Every change that a client was told had happened (2xx) is there at the end."""

from __future__ import annotations

from collections.abc import Iterator

from harness.checks.verdict import Finding, Property, Result, answer
from harness.evidence.evidence import Evidence
from harness.evidence.records import HistoryRow, Operation

NAME = "acknowledged_never_lost"
CHANGES = ("create_lead", "create_deal", "change_lead", "move_stage")


def check(evidence: Evidence) -> Result:
    acknowledged = [op for op in evidence.operations if op.outcome == "ok" and op.action in CHANGES]
    leads = {lead.id: lead for lead in evidence.rows.leads}
    deals = {deal.id: deal for deal in evidence.rows.deals}
    history: dict[tuple[str, str, object], HistoryRow] = {
        (row.entity_type, row.entity_id, row.version): row for row in evidence.rows.history
    }

    def problems(operation: Operation) -> Iterator[str]:
        told = operation.answer
        if operation.action == "create_lead":
            lead = leads.get(str(told.get("id")))
            if lead is None:
                yield f"lead {told.get('id')} was acknowledged with {operation.http_status} but is not there"
            elif lead.email != str(operation.arguments.get("email", "")).lower():
                yield f"lead {lead.id} was acknowledged with {operation.arguments.get('email')} but holds {lead.email}"
        elif operation.action == "change_lead":
            lead, version = leads.get(str(operation.entity_id)), told.get("version")
            if lead is None or not isinstance(version, int) or lead.version < version:
                yield f"version {version} of lead {operation.entity_id} was acknowledged but is not there"
        elif operation.action == "create_deal":
            deal = deals.get(str(told.get("id")))
            if deal is None or deal.lead_id != operation.arguments.get("lead_id"):
                yield f"deal {told.get('id')} was acknowledged with {operation.http_status} but is not there"
        elif told.get("changed"):
            version = told.get("version")
            row = history.get((str(operation.entity_type), str(operation.entity_id), version))
            if row is None:
                yield f"the move to {told.get('stage')} was acknowledged as version {version}; history lacks it"
            elif (row.to_stage, row.correlation_id) != (operation.arguments.get("stage"), operation.correlation_id):
                yield (
                    f"version {row.version} was acknowledged as the move to {operation.arguments.get('stage')}, "
                    f"but history has {row.to_stage} by {row.correlation_id}"
                )

    findings = [
        Finding(
            property=NAME, says=says, service="pipeline" if op.action == "move_stage" else "crm",
            edge="client→pipeline" if op.action == "move_stage" else "client→crm",
            entity=f"{op.entity_type} {op.entity_id or op.answer.get('id')}", correlation_id=op.correlation_id,
        )
        for op in acknowledged for says in problems(op)
    ]  # fmt: skip
    return answer(NAME, seen=len(acknowledged), floor=0, findings=findings)


PROPERTY = Property(
    NAME, "every change answered 2xx is there at the end", ("operations", "rows"), check, severity="critical"
)
