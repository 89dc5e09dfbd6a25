"""The door for people: ``gauntlet …``. One file for each group of commands."""

from cli import benches, bugs, chaos, logs, reports, runs, stacks
from cli.door import gauntlet, main

__all__ = ["benches", "bugs", "chaos", "gauntlet", "logs", "main", "reports", "runs", "stacks"]
