"""The toxics, one kind a file, with the names and attributes that they have in Toxiproxy 2.12."""

from __future__ import annotations

from chaos.proxy.toxics.bandwidth import BandwidthStage
from chaos.proxy.toxics.latency import LatencyStage
from chaos.proxy.toxics.limit_data import LimitDataStage
from chaos.proxy.toxics.reset_peer import ResetPeerStage
from chaos.proxy.toxics.slicer import SlicerStage
from chaos.proxy.toxics.slow_close import SlowCloseStage
from chaos.proxy.toxics.stage import Stage
from chaos.proxy.toxics.timeout import TimeoutStage

KINDS: dict[str, type[Stage]] = {
    "bandwidth": BandwidthStage,
    "latency": LatencyStage,
    "limit_data": LimitDataStage,
    "reset_peer": ResetPeerStage,
    "slicer": SlicerStage,
    "slow_close": SlowCloseStage,
    "timeout": TimeoutStage,
}
