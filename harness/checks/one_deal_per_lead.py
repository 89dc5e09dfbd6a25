"""At most one deal a lead, and exactly one where a change that triggers the deal rule was committed."""

from __future__ import annotations

from collections import Counter, defaultdict

from harness.checks.verdict import Finding, Property, Result, answer
from harness.contract.log_lines import DeadLetterDiscarded
from harness.evidence.evidence import Evidence

NAME = "one_deal_per_lead"


def check(evidence: Evidence) -> Result:
    """The database decides; the clients' 201s must not have promised more deals than there may be."""
    deals: dict[str, list[str]] = defaultdict(list)
    for deal in evidence.rows.deals:
        deals[deal.lead_id].append(deal.id)
    promised = Counter(
        str(operation.arguments.get("lead_id"))
        for operation in evidence.operations
        if operation.action == "create_deal" and operation.outcome == "ok"
    )
    triggers = _triggering_changes(evidence)
    findings = []
    for lead_id in sorted({*deals, *promised, *triggers}):
        count = len(deals.get(lead_id, ()))
        if count > 1:
            findings.append(_finding(lead_id, None, f"{count} deals for one lead: {', '.join(deals[lead_id])}"))
        elif promised[lead_id] > 1:
            findings.append(
                _finding(lead_id, None, f"{promised[lead_id]} clients were told 201 for this lead's one deal")
            )
        elif lead_id in triggers and count == 0:
            says = "no deal, although a change that triggers it was committed and its event is not dead-lettered"
            findings.append(_finding(lead_id, triggers[lead_id], says))
    seen = len(deals) + len(triggers)
    floor = 1 if promised or triggers else 0
    return answer(NAME, seen=seen, floor=floor, findings=findings)


def _triggering_changes(evidence: Evidence) -> dict[str, str]:
    """Leads that must have a deal, with the correlation id of the change that demands it."""
    stages = {
        rule.to_stage
        for rule in evidence.rows.rules
        if rule.enabled and rule.action == "create_deal" and rule.event_type == "lead.stage.changed"
    }
    given_up = {message.correlation_id for message in evidence.resting}
    given_up |= {line.correlation_id for line in evidence.of(DeadLetterDiscarded)}
    return {
        row.entity_id: row.correlation_id
        for row in evidence.rows.history
        if row.entity_type == "lead" and row.to_stage in stages and row.correlation_id not in given_up
    }


def _finding(lead_id: str, correlation_id: str | None, says: str) -> Finding:
    return Finding(
        property=NAME, says=says, service="automation", edge="automation→crm", entity=f"lead {lead_id}",
        correlation_id=correlation_id,
    )  # fmt: skip


PROPERTY = Property(
    NAME,
    "at most one deal a lead; exactly one where the rule's trigger was committed",
    ("rows.deals", "rows.history", "rows.rules", "resting", "lines", "operations"),
    check,
    severity="critical",
)
