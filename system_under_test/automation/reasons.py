"""Why a message is a dead letter."""

from typing import Literal

Reason = Literal["exhausted", "non_retryable", "schema_invalid", "delivery_limit", "loop_guard"]
