"""What can go wrong, by what has to become of it."""

from __future__ import annotations


class Unavailable(Exception):
    """The database cannot be used now, or this statement could not be carried out now."""


class BrokerLost(Exception):
    """The connection to the broker is gone, or it did not answer in time."""


class PeerTrouble(Exception):
    """Whoever was called did not answer, or answered that now is a bad time."""

    def __init__(self, peer: str, what: str, *, may_be_down: bool = False, retry_after_s: float = 0) -> None:
        super().__init__(f"{peer}: {what}")
        self.peer, self.may_be_down, self.retry_after_s = peer, may_be_down, retry_after_s


class NonRetryable(Exception):
    """It would fail again in the same way."""


class Unreadable(Exception):
    """The message is not an event that we know."""


class TooManyHops(Exception):
    """Events that cause each other in a circle."""


class DeliveredTooOften(Exception):
    """Whoever took it died of it, or never came to an end."""


class LeaseLost(Exception):
    """Somebody took the work over while we were at it."""


class Abandoned(Exception):
    """To go on has no use: the service stops, or the delivery belongs to somebody else by now."""


PASSING = (PeerTrouble, Unavailable, LeaseLost, TimeoutError)


def reason_of(error: Exception) -> str:
    """Why a message is dead that died of this."""
    match error:
        case Unreadable():
            return "schema_invalid"
        case TooManyHops():
            return "loop_guard"
        case DeliveredTooOften():
            return "delivery_limit"
        case _ if isinstance(error, PASSING):
            return "exhausted"
    return "non_retryable"
