"""The door for people: ``gauntlet …``. One file for each group of commands."""

from cli import benches, bugs, chaos, load, logs, reports, runs, stacks
from cli.door import gauntlet, main

__all__ = ["benches", "bugs", "chaos", "gauntlet", "load", "logs", "main", "reports", "runs", "stacks"]
