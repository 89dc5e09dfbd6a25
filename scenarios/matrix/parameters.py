"""How hard each toxic bites, by where it is: so that it hurts, and the workload still goes on in a second or two."""

from __future__ import annotations

from collections.abc import Mapping

from scenarios.matrix.cells import Cell, FarEnd

_LATENCY_MS: Mapping[FarEnd, int] = {"client side": 100, "database": 20, "broker": 60, "service": 80, "sink": 100}
"""A change takes a dozen round trips to the database, and one to anything else."""
_RATE_KB_S: Mapping[FarEnd, int] = {"client side": 8, "database": 24, "broker": 12, "service": 8, "sink": 2}
_LIMIT_BYTES: Mapping[tuple[FarEnd, str], int] = {
    ("client side", "upstream"): 150, ("client side", "downstream"): 150,
    ("database", "upstream"): 3_000, ("database", "downstream"): 3_000,
    ("broker", "upstream"): 2_500, ("broker", "downstream"): 60,
    ("service", "upstream"): 900, ("service", "downstream"): 900,
    ("sink", "upstream"): 400, ("sink", "downstream"): 50,
}  # fmt: skip
"""Less than the workload sends. A broker tells who only publishes no more than confirms, so few are enough."""

_SLICE_BYTES: Mapping[FarEnd, int] = {"client side": 64, "database": 64, "broker": 10, "service": 64, "sink": 10}
"""Less than the shortest that is sent at once, or it cuts nothing: an ack (21 bytes), a line of a mail server (19)."""


def attributes(cell: Cell) -> dict[str, int]:
    """The attributes of a cell's toxic, by Toxiproxy's names and in its units. Raises KeyError for ``down``."""
    kind = cell.far_end
    latency_ms = _LATENCY_MS[kind]
    slice_bytes = _SLICE_BYTES[kind]
    return {
        "latency": {"latency": latency_ms, "jitter": latency_ms // 2},
        "bandwidth": {"rate": _RATE_KB_S[kind]},
        "slow_close": {"delay": 300},
        "timeout": {"timeout": 300},
        "reset_peer": {"timeout": 100},
        "slicer": {"average_size": slice_bytes, "size_variation": slice_bytes // 2, "delay": 100},
        "limit_data": {"bytes": _LIMIT_BYTES[kind, cell.stream]},
    }[cell.toxic]
