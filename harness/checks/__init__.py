"""One property a file: evidence in, findings out. ``ALL`` lists them; whoever adds a property appends it here."""

from __future__ import annotations

from harness.checks import (
    acknowledged_never_lost,
    commit_iff_event,
    dead_letter_accounting,
    effect_exactly_once,
    entity_event_order,
    errors_explained,
    evidence_sufficient,
    health_tells_the_truth,
    log_contract,
    message_conservation,
    metrics_agree,
    no_leak,
    no_stuck_outbox,
    one_deal_per_lead,
    one_winner,
    outage_dead_letters_nothing,
    recovery_bound,
    schema,
    stage_chain,
    trace_complete,
)
from harness.checks.verdict import Property

ALL: tuple[Property, ...] = (
    one_deal_per_lead.PROPERTY,
    stage_chain.PROPERTY,
    commit_iff_event.PROPERTY,
    message_conservation.PROPERTY,
    effect_exactly_once.PROPERTY,
    acknowledged_never_lost.PROPERTY,
    one_winner.PROPERTY,
    dead_letter_accounting.PROPERTY,
    entity_event_order.PROPERTY,
    trace_complete.PROPERTY,
    log_contract.PROPERTY,
    no_leak.PROPERTY,
    errors_explained.PROPERTY,
    no_stuck_outbox.PROPERTY,
    outage_dead_letters_nothing.PROPERTY,
    metrics_agree.PROPERTY,
    health_tells_the_truth.PROPERTY,
    recovery_bound.PROPERTY,
    schema.PROPERTY,
    evidence_sufficient.PROPERTY,
)
