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
    log_contract,
    message_conservation,
    no_leak,
    one_deal_per_lead,
    one_winner,
    real_time_order,
    refused_leaves_nothing,
    session_monotonic,
    sources_agree,
    stage_chain,
    trace_complete,
    unknown_is_atomic,
)
from harness.checks.verdict import Property

ALL: tuple[Property, ...] = (
    one_deal_per_lead.PROPERTY,
    stage_chain.PROPERTY,
    commit_iff_event.PROPERTY,
    message_conservation.PROPERTY,
    effect_exactly_once.PROPERTY,
    acknowledged_never_lost.PROPERTY,
    refused_leaves_nothing.PROPERTY,
    unknown_is_atomic.PROPERTY,
    one_winner.PROPERTY,
    real_time_order.PROPERTY,
    session_monotonic.PROPERTY,
    dead_letter_accounting.PROPERTY,
    entity_event_order.PROPERTY,
    trace_complete.PROPERTY,
    log_contract.PROPERTY,
    no_leak.PROPERTY,
    errors_explained.PROPERTY,
    sources_agree.PROPERTY,
    evidence_sufficient.PROPERTY,
)
