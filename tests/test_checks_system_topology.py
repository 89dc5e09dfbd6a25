"""Whatever lies in a queue stays there until somebody takes it, and whatever the broker moves by itself arrives."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from harness.checks.topology import PROPERTY
from harness.checks.verdict import Result
from harness.evidence.records import OURS, BindingRow, ConsumerRow, ExchangeRow, QueueRow, TapMessage, Topology
from tests.builders import DEAD_LETTERS, WORK_QUEUE, evidence, scenario, target, the_finding, uid

BROKER = target().broker
RETRY, UNDELIVERABLE = "automation.retry.2", "automation.undeliverable"
SURELY = {"queue-type": "quorum", "dead-letter-strategy": "at-least-once", "overflow": "reject-publish"}


def leading_to(queue: str, **more: Any) -> dict[str, Any]:
    """Arguments of a queue from which the broker moves messages on."""
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return SURELY | {"dead-letter-exchange": "", "dead-letter-routing-key": queue} | named


QUEUES = {name: leading_to(WORK_QUEUE, message_ttl=100) for name in BROKER.retry_queues} | {
    WORK_QUEUE: leading_to(UNDELIVERABLE, delivery_limit=20),
    DEAD_LETTERS: {"queue-type": "quorum", "delivery-limit": 1_000_000},
    UNDELIVERABLE: {"queue-type": "quorum"},
}
CONSUMER = ConsumerRow(WORK_QUEUE, "automation-1", True, 16)
BINDINGS = tuple(BindingRow(BROKER.exchange, key, WORK_QUEUE) for key in BROKER.bindings)


def broker(
    queues: dict[str, dict[str, Any]] | None = None,
    *,
    without: str = "",
    bindings: tuple[BindingRow, ...] = (),
    consumers: tuple[ConsumerRow, ...] = (CONSUMER,),
) -> Topology:
    """The reference topology, but for these queues, with these bindings added."""
    known = QUEUES | (queues or {})
    return Topology(
        queues=tuple(QueueRow(name, True, False, known[name]) for name in known if name != without),
        exchanges=(ExchangeRow(BROKER.exchange, True), ExchangeRow("automation.dlx", True)),
        bindings=BINDINGS + bindings,
        consumers=consumers,
    )


def judged(topology: Topology, *, format: int = 3, **parts: Any) -> Result:
    return PROPERTY.check(evidence(topology=topology, scenario=scenario(format=format), **parts))


def says(topology: Topology, **parts: Any) -> str:
    finding = the_finding(judged(topology, **parts))
    assert finding.service == "broker"
    return finding.says


# --- it keeps what it holds -------------------------------------------------------------------------------------


def test_the_topology_as_promised_passes() -> None:
    result = judged(broker())
    assert (result.status, result.seen) == ("pass", len(QUEUES)), result.findings


@pytest.mark.parametrize("queue", [DEAD_LETTERS, UNDELIVERABLE], ids=["dead letters", "what was delivered too often"])
def test_a_queue_in_which_messages_expire_for_good_fails(queue: str) -> None:
    assert (
        says(broker({queue: QUEUES[queue] | {"message-ttl": 7}})) == f"what lies in {queue} is thrown away after 7 ms"
    )


def test_dead_letters_that_expire_fail_wherever_they_go() -> None:
    assert "thrown away after 7 ms" in says(broker({DEAD_LETTERS: leading_to(WORK_QUEUE, message_ttl=7)}))


@pytest.mark.parametrize("queue", BROKER.queues)
def test_a_queue_that_goes_by_itself_fails(queue: str) -> None:
    assert "goes with all it holds" in says(broker({queue: QUEUES[queue] | {"expires": 60_000}}))


@pytest.mark.parametrize("limit", ["max-length", "max-length-bytes"])
@pytest.mark.parametrize("overflow", [{}, {"overflow": "drop-head"}], ids=["by default", "by name"])
def test_a_full_queue_that_drops_what_it_holds_fails(limit: str, overflow: dict[str, str]) -> None:
    told = says(broker({DEAD_LETTERS: {"queue-type": "quorum", limit: 10_000} | overflow}))
    assert told == f"{DEAD_LETTERS} drops its oldest message when it is full ({limit} 10000)"


def test_a_full_queue_that_refuses_more_passes() -> None:
    assert judged(broker({WORK_QUEUE: QUEUES[WORK_QUEUE] | {"max-length": 1}})).status == "pass"


def test_a_queue_without_a_way_on_that_gives_up_soon_fails() -> None:
    told = says(broker({DEAD_LETTERS: {"queue-type": "quorum", "delivery-limit": 20}}))
    assert told.endswith("thrown away when it has been given back 20 times, and there is nowhere to put it")


@pytest.mark.parametrize("limit", [-1, 1_000_000], ids=["never", "as good as never"])
def test_a_queue_that_gives_up_never_passes(limit: int) -> None:
    assert judged(broker({DEAD_LETTERS: {"queue-type": "quorum", "delivery-limit": limit}})).status == "pass"


# --- what it moves arrives --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "way",
    [
        {"dead-letter-exchange": "automation.dlx"},
        {"dead-letter-exchange": "nobody.declared.it"},
        {"dead-letter-routing-key": "automation.nowhere"},
        {"dead-letter-routing-key": None},
    ],
    ids=["an exchange that leads nowhere", "no exchange", "no queue", "the key that each message has"],
)
def test_a_way_that_leads_nowhere_fails(way: dict[str, Any]) -> None:
    assert "has nowhere to go" in says(broker({WORK_QUEUE: QUEUES[WORK_QUEUE] | way}))


def test_a_way_into_a_queue_that_is_nobodys_fails() -> None:
    """It arrives, and nobody looks there."""
    lost = broker({WORK_QUEUE: leading_to("old.dlq"), "old.dlq": {}})
    assert "has nowhere to go" in says(lost)


def test_an_exchange_that_leads_to_a_queue_passes() -> None:
    way = {"dead-letter-exchange": "automation.dlx"}
    bound = (BindingRow("automation.dlx", "#", UNDELIVERABLE),)
    assert judged(broker({WORK_QUEUE: QUEUES[WORK_QUEUE] | way}, bindings=bound)).status == "pass"


@pytest.mark.parametrize(
    "weak",
    [{"dead-letter-strategy": "at-most-once"}, {"overflow": "drop-head"}, {"queue-type": "classic"}],
    ids=["a strategy that loses", "an overflow that rules it out", "a queue that knows no other"],
)
def test_a_queue_that_passes_on_at_most_once_fails(weak: dict[str, str]) -> None:
    assert "passes on at most once" in says(broker({RETRY: QUEUES[RETRY] | weak}))


def test_a_queue_in_which_each_message_waits_for_its_own_time_fails() -> None:
    assert "has no delay of its own" in says(broker({RETRY: leading_to(WORK_QUEUE)}))


# --- what has to be there ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("queue", [RETRY, DEAD_LETTERS])
def test_a_queue_that_is_not_there_fails_and_is_named(queue: str) -> None:
    assert says(broker(without=queue)) == f"there is no queue {queue} that outlives the broker and those who use it"


@pytest.mark.parametrize(("durable", "passing"), [(False, False), (True, True)])
def test_a_queue_that_does_not_last_fails(durable: bool, passing: bool) -> None:
    whole = broker(without=RETRY)
    fleeting = QueueRow(RETRY, durable, passing, QUEUES[RETRY])
    assert RETRY in says(msgspec.structs.replace(whole, queues=(*whole.queues, fleeting)))


def test_an_exchange_that_does_not_last_fails() -> None:
    exchanges = (ExchangeRow(BROKER.exchange, False),)
    assert "no exchange crm.events" in says(msgspec.structs.replace(broker(), exchanges=exchanges))


def test_events_that_are_not_led_to_their_queue_fail() -> None:
    bindings = (BindingRow("", WORK_QUEUE, WORK_QUEUE), *BINDINGS[1:])
    told = says(msgspec.structs.replace(broker(), bindings=bindings))
    assert told == f"crm.events does not lead to {WORK_QUEUE} by {BROKER.bindings[0]}"


# --- who takes from it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefetch", [0, 17, 65_535])
def test_a_consumer_that_is_sent_more_than_it_can_hold_fails(prefetch: int) -> None:
    told = says(broker(consumers=(ConsumerRow(WORK_QUEUE, "automation-1", True, prefetch),)))
    assert told == f"automation-1 is sent {prefetch or 'all'} messages of {WORK_QUEUE} at once, expected 16 at most"


def test_a_consumer_that_settles_nothing_fails() -> None:
    assert "forgets what it has sent" in says(broker(consumers=(ConsumerRow(UNDELIVERABLE, "a", False, 16),)))


def test_nobody_asks_how_others_take_from_other_queues() -> None:
    assert judged(broker(consumers=(ConsumerRow("amq.gen-1", "somebody", False, 0),))).status == "pass"


def test_whoever_promises_no_number_has_to_have_one_all_the_same() -> None:
    free = msgspec.structs.replace(target(), broker=msgspec.structs.replace(BROKER, prefetch=0))
    for prefetch, status in ((0, "fail"), (1_000, "pass")):
        topology = broker(consumers=(ConsumerRow(WORK_QUEUE, "automation-1", True, prefetch),))
        whole = evidence(topology=topology, scenario=scenario(format=3))
        assert PROPERTY.check(type(whole)(**(vars(whole) | {"target": free}))).status == status


# --- messages ---------------------------------------------------------------------------------------------------


def sent(expiration: str | None = None, *, key: str = "lead.created", **changes: Any) -> TapMessage:
    whole: dict[str, Any] = {
        "what": "published", "queues": (WORK_QUEUE,), "exchange": BROKER.exchange, "routing_key": key,
        "message_id": uid("m"), "correlation_id": uid("c"), "type": key, "app_id": "crm", "headers": {}, "body": "{}",
        "delivery_mode": 2, "expiration": expiration,
    }  # fmt: skip
    return TapMessage(**(whole | changes))


def retried(attempt: object, queue: str) -> TapMessage:
    return sent(exchange="", key=queue, headers={"attempt": attempt})


def test_a_message_that_may_expire_fails_once_for_each_way() -> None:
    tap = (sent("60000"), sent("60000"), sent(None, key="deal.created"))
    told = says(broker(), tap=tap)
    assert told == f"message {uid('m')} to crm.events lead.created expires after 60000 ms"


@pytest.mark.parametrize("mode", [None, 1])
def test_a_message_that_does_not_outlive_the_broker_fails(mode: int | None) -> None:
    told = says(broker(), tap=(sent(exchange="", key=DEAD_LETTERS, delivery_mode=mode),))
    assert told == f"message {uid('m')} to {DEAD_LETTERS} does not outlive the broker"


def test_messages_that_last_pass_and_those_to_others_are_nobodys_business() -> None:
    assert judged(broker(), tap=(sent(), sent("1", exchange="", key="amq.gen-1", delivery_mode=1))).status == "pass"


def test_a_message_of_our_own_may_ask_for_anything_but_no_copy_of_it() -> None:
    ours = sent("60000", app_id=OURS)
    assert judged(broker(), tap=(ours,)).status == "pass"
    copy = sent("60000", app_id=OURS, exchange="", key=DEAD_LETTERS)
    assert says(broker(), tap=(ours, copy)).startswith(f"message {uid('m')} to {DEAD_LETTERS} expires")


# --- retries ----------------------------------------------------------------------------------------------------

LADDER = {f"automation.retry.{n}": leading_to(WORK_QUEUE, message_ttl=100 * n) for n in (1, 2, 3, 4)}


@pytest.mark.parametrize(("attempt", "queue", "least"), [(3, 1, 200), (5, 3, 400), (9, 3, 400)])
def test_a_retry_that_comes_too_soon_fails(attempt: int, queue: int, least: int) -> None:
    told = says(broker(LADDER), tap=(retried(2, "automation.retry.1"), retried(attempt, f"automation.retry.{queue}")))
    assert told == (f"attempt {attempt} of event {uid('m')} comes after {queue * 100} ms, expected {least} at least")


def test_retries_that_climb_pass_and_may_leave_rungs_out() -> None:
    tap = [retried(attempt, f"automation.retry.{attempt - 1}") for attempt in (2, 3, 4, 5)]
    assert judged(broker(LADDER), tap=(*tap, retried(2, "automation.retry.4"))).status == "pass"


@pytest.mark.parametrize("attempt", [None, 1, "3"])
def test_a_retry_that_does_not_say_which_one_it_is_fails(attempt: object) -> None:
    told = says(broker(LADDER), tap=(retried(attempt, "automation.retry.1"),))
    assert told.startswith(f"a retry of event {uid('m')} says that it is attempt {attempt},")


# --- without evidence -------------------------------------------------------------------------------------------


def test_a_broker_without_any_queue_is_unknown() -> None:
    assert judged(Topology()).status == "unknown"


def test_an_older_run_recorded_no_topology_and_is_idle() -> None:
    assert judged(Topology(), format=2).status == "idle"
