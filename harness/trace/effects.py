"""What automation says it has done, and whether those to whom it was done know of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.contract.log_lines import ActionCompleted
from harness.evidence.evidence import Evidence
from harness.evidence.records import RuleRow
from harness.trace.disagreement import Disagreement


@dataclass(frozen=True, slots=True)
class _Claim:
    """Somebody says that a rule's action on an entity is done."""

    by: str
    action: str
    rule_id: str
    entity: tuple[str, str]
    correlation_id: str


class _Effects:
    """Where effects show: in rows of the services that own them, and in what the sinks accepted."""

    def __init__(self, evidence: Evidence) -> None:
        self._with_deal = {deal.lead_id for deal in evidence.rows.deals}
        self._owners = {lead.id: lead.owner_id for lead in evidence.rows.leads}
        self._changed_by_hand = {op.entity_id for op in evidence.operations if op.action == "change_lead"}
        self._was_in = {(row.entity_type, row.entity_id, row.to_stage) for row in evidence.rows.history}
        self._accepted = {(item.rule_id, item.entity_id) for item in evidence.received if item.accepted}
        self._initial = evidence.target.stages.initial

    def missing(self, claim: _Claim, rule: RuleRow | None) -> tuple[str, str] | None:
        """The peer that should know of it and does not, and what it lacks; None if it does."""
        entity_type, entity_id = claim.entity
        parameters = rule.parameters if rule else {}
        match claim.action:
            case "create_deal" if entity_type == "lead" and entity_id not in self._with_deal:
                return "crm", "crm has no deal for it"
            case "assign_user" if entity_id in self._owners and entity_id not in self._changed_by_hand:
                return ("crm", "in crm it has no owner") if self._owners[entity_id] is None else None
            case "move_stage" if (stage := parameters.get("stage")) not in (None, self._initial):
                there = (entity_type, entity_id, stage) in self._was_in
                return None if there else ("pipeline", f"pipeline never had it in {stage}")
            case "notify" | "escalate" if (claim.rule_id, entity_id) not in self._accepted:
                peer = str(parameters.get("channel", "webhook"))
                return peer, "no receiver accepted a message of it"
        return None


def effects_disagree(evidence: Evidence) -> Iterator[Disagreement]:
    """Every action that is said to be done and of which its peer knows nothing."""
    effects = _Effects(evidence)
    rules = {rule.rule_id: rule for rule in evidence.rows.rules}
    for claim in _claims(evidence, rules):
        missing = effects.missing(claim, rules.get(claim.rule_id))
        if missing is not None:
            peer, lacks = missing
            says = f"{claim.by} that {claim.action} of rule {claim.rule_id} is done; {lacks}"
            yield Disagreement(
                f"{says}: lost between automation and {peer}", "automation", f"automation→{peer}",
                " ".join(claim.entity), claim.correlation_id, lost=True,
            )  # fmt: skip


def _claims(evidence: Evidence, rules: dict[str, RuleRow]) -> Iterator[_Claim]:
    """One for each rule and entity: the log's, or else the database's."""
    made: set[tuple[str, str]] = set()
    for line in evidence.lines:
        if type(line) is ActionCompleted and line.status != "failed" and (line.rule_id, line.entity_id) not in made:
            made.add((line.rule_id, line.entity_id))
            whom = (str(line.entity_type), line.entity_id)
            yield _Claim("automation logged", line.action, line.rule_id, whom, line.correlation_id)
    for row in evidence.rows.executions:
        if row.status == "succeeded" and (row.rule_id, row.entity_id) not in made and row.rule_id in rules:
            whom = (row.entity_type, row.entity_id)
            yield _Claim("the database says", rules[row.rule_id].action, row.rule_id, whom, row.correlation_id)
