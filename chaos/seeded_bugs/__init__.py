"""Bugs planted on purpose, each of which must turn a run red for the right reason."""
