"""Faults in the database, one kind a file. It goes on running: for its end see ``chaos.faults.process``."""

from chaos.faults.database.commits import commit_held
from chaos.faults.database.connections import exhausted
from chaos.faults.database.constraints import one_row_only
from chaos.faults.database.locks import locked
from chaos.faults.database.read_only import read_only
from chaos.faults.database.refused_commits import commit_refused
from chaos.faults.database.sessions import terminated
from chaos.faults.database.writes import refusing_writes

__all__ = [
    "commit_held",
    "commit_refused",
    "exhausted",
    "locked",
    "one_row_only",
    "read_only",
    "refusing_writes",
    "terminated",
]
