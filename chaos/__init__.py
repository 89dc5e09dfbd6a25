"""Breaks things: faults on the wire, in the processes, in the broker and in the database, and planted bugs."""
