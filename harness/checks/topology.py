"""The broker keeps what must not be lost, by itself: nothing expires or is dropped, and whatever it moves arrives.

What it knows of its queues is asked, not what anybody has declared: an argument that is missing, or one too many, does
its harm on a day that no scenario waits for (a dead letter that expires after a week, a backlog that is too long).
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.checks.verdict import Finding, Property, Result, answer
from harness.evidence.evidence import Evidence
from harness.evidence.records import OURS, QueueRow, Topology
from harness.target import BrokerSpec

NAME = "topology"
_LIMITS = ("max-length", "max-length-bytes")
_REFUSES = "reject-publish"
_AS_GOOD_AS_NEVER = 100_000
_PERSISTENT = 2


def check(evidence: Evidence) -> Result:
    broker, topology = evidence.target.broker, evidence.topology
    findings = [*_passing(evidence)]
    if topology.queues:
        ours = [queue for queue in topology.queues if queue.name in broker.queues]
        findings += [
            *_missing(broker, topology),
            *(finding for queue in ours for finding in _keeps(queue, broker)),
            *(finding for queue in ours for finding in _passes_on(queue, broker, topology)),
            *_takes(broker, topology),
            *_hurries(evidence),
        ]
    return answer(NAME, seen=len(topology.queues), floor=1 if evidence.scenario.format >= 3 else 0, findings=findings)


def _missing(broker: BrokerSpec, topology: Topology) -> Iterator[Finding]:
    """Whatever has to be there, is there, and would be after a restart."""
    lasting = {queue.name for queue in topology.queues if queue.durable and not queue.passing}
    for name in broker.queues:
        if name not in lasting:
            yield _finding(name, f"there is no queue {name} that outlives the broker and those who use it")
    if broker.exchange not in {exchange.name for exchange in topology.exchanges if exchange.durable}:
        yield _finding(broker.exchange, f"there is no exchange {broker.exchange} that outlives the broker")
    bound = {(binding.exchange, binding.routing_key, binding.queue) for binding in topology.bindings}
    for key in broker.bindings:
        if (broker.exchange, key, broker.work_queue) not in bound:
            says = f"{broker.exchange} does not lead to {broker.work_queue} by {key}"
            yield _finding(broker.work_queue, says)


def _keeps(queue: QueueRow, broker: BrokerSpec) -> Iterator[Finding]:
    """What lies in a queue leaves it only with somebody who takes it, or on a way that leads on."""
    arguments = queue.arguments
    ends = queue.name == broker.dead_letter_queue or not _leads_on(queue)
    if "message-ttl" in arguments and ends:
        yield _finding(queue.name, f"what lies in {queue.name} is thrown away after {arguments['message-ttl']} ms")
    if "expires" in arguments:
        yield _finding(queue.name, f"{queue.name} goes with all it holds when nobody has used it for a while")
    if not _leads_on(queue) and 0 <= arguments.get("delivery-limit", -1) < _AS_GOOD_AS_NEVER:
        says = f"what lies in {queue.name} is thrown away when it has been given back"
        yield _finding(queue.name, f"{says} {arguments['delivery-limit']} times, and there is nowhere to put it")
    limited = [f"{name} {arguments[name]}" for name in _LIMITS if name in arguments]
    if limited and arguments.get("overflow", "") != _REFUSES:
        yield _finding(queue.name, f"{queue.name} drops its oldest message when it is full ({', '.join(limited)})")


def _leads_on(queue: QueueRow) -> bool:
    return "dead-letter-exchange" in queue.arguments


def _passes_on(queue: QueueRow, broker: BrokerSpec, topology: Topology) -> Iterator[Finding]:
    """What the broker moves by itself arrives: the way leads to one of the queues, and nothing gets lost on it."""
    if not _leads_on(queue):
        return
    arguments = queue.arguments
    exchange, key = arguments["dead-letter-exchange"], arguments.get("dead-letter-routing-key")
    if not _arrives(exchange, key, broker, topology):
        way = f"exchange {exchange or '(default)'}, key {key or 'of the message'}"
        yield _finding(queue.name, f"what {queue.name} passes on has nowhere to go ({way}) and is lost")
    surely = (arguments.get("dead-letter-strategy"), arguments.get("overflow"), arguments.get("queue-type"))
    if surely != ("at-least-once", _REFUSES, "quorum"):
        yield _finding(queue.name, f"{queue.name} passes on at most once: no confirm is awaited, {surely}")
    if queue.name in broker.retry_queues and "message-ttl" not in arguments:
        yield _finding(
            queue.name,
            f"{queue.name} has no delay of its own: where each message brings one, a short one waits behind a long one",
        )


def _arrives(exchange: str, key: str | None, broker: BrokerSpec, topology: Topology) -> bool:
    there = {queue.name for queue in topology.queues}.intersection(broker.queues)
    if not exchange:
        return key in there
    return any(binding.exchange == exchange and binding.queue in there for binding in topology.bindings)


def _takes(broker: BrokerSpec, topology: Topology) -> Iterator[Finding]:
    """Who takes messages settles each, and is not sent more than it can have in hand."""
    for consumer in topology.consumers:
        if consumer.queue not in broker.queues:
            continue
        if not consumer.acknowledges:
            yield _finding(
                consumer.queue, f"{consumer.queue} forgets what it has sent to {consumer.tag}, settled or not"
            )
        if not consumer.prefetch or (broker.prefetch and consumer.prefetch > broker.prefetch):
            allowed = broker.prefetch or "some"
            says = f"{consumer.tag} is sent {consumer.prefetch or 'all'} messages of {consumer.queue} at once"
            yield _finding(consumer.queue, f"{says}, expected {allowed} at most")


def _hurries(evidence: Evidence) -> Iterator[Finding]:
    """The longer something fails, the longer it is left alone: its n-th retry waits for the n-th delay at least.

    The message itself has to say which one it is: what the broker counts does not survive a copy.
    """
    broker = evidence.target.broker
    delays = {
        queue.name: int(queue.arguments["message-ttl"])
        for queue in evidence.topology.queues
        if queue.name in broker.retry_queues and "message-ttl" in queue.arguments
    }
    ladder = sorted(delays.values())
    for copy in evidence.tap:
        attempt = copy.headers.get("attempt")
        if copy.what != "published" or copy.exchange or copy.routing_key not in delays:
            continue
        if not isinstance(attempt, int) or attempt < 2:
            says = (
                f"a retry of event {copy.message_id} says that it is attempt {attempt}, so that nobody can count them"
            )
            yield _finding(copy.routing_key, says, copy.correlation_id)
            continue
        waits, least = delays[copy.routing_key], ladder[min(attempt - 1, len(ladder)) - 1]
        if waits < least:
            says = f"attempt {attempt} of event {copy.message_id} comes after {waits} ms, expected {least} at least"
            yield _finding(copy.routing_key, says, copy.correlation_id)


def _passing(evidence: Evidence) -> Iterator[Finding]:
    """A message that may expire is lost in a backlog, and where others wait it makes them wait or waits for them.

    What a message of our own asks for is no matter, but no copy of it may ask for the same.
    """
    broker, told = evidence.target.broker, set()
    for message in (*evidence.tap, *evidence.resting):
        way = (message.exchange, message.routing_key)
        ours = message.exchange == broker.exchange and message.app_id == OURS
        known = message.exchange == broker.exchange or (not message.exchange and message.routing_key in broker.queues)
        if ours or not known or way in told:
            continue
        named = f"message {message.message_id} to {' '.join(filter(None, way))}"
        if message.expiration is not None:
            told.add(way)
            says = f"{named} expires after {message.expiration} ms"
            yield _finding(message.routing_key, says, message.correlation_id)
        elif message.delivery_mode != _PERSISTENT and evidence.scenario.format >= 3:
            told.add(way)
            yield _finding(message.routing_key, f"{named} does not outlive the broker", message.correlation_id)


def _finding(entity: str, says: str, correlation_id: str | None = None) -> Finding:
    return Finding(property=NAME, says=says, service="broker", entity=entity, correlation_id=correlation_id)


PROPERTY = Property(
    NAME,
    "queues keep what they hold, what the broker moves arrives, retries wait ever longer, and a prefetch has its bound",
    ("topology", "tap", "resting"),
    check,
)
