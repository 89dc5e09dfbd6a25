"""Exploring: drawn schedules are run, what is red is confirmed and shrunk, and what was found is replayed."""
