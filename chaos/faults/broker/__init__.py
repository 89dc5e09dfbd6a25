"""Faults in the broker, one kind a file. It goes on running: for its end see ``chaos.faults.process``."""

from chaos.faults.broker.alarm import memory_alarm
from chaos.faults.broker.bindings import unbound
from chaos.faults.broker.connections import closed
from chaos.faults.broker.exchange import exchange_deleted
from chaos.faults.broker.full import queue_full
from chaos.faults.broker.queue import work_queue_deleted, work_queue_made_anew

__all__ = [
    "closed",
    "exchange_deleted",
    "memory_alarm",
    "queue_full",
    "unbound",
    "work_queue_deleted",
    "work_queue_made_anew",
]
