"""Schedules: what clients do and what breaks meanwhile, as data. Drawn from a seed, replayed, shrunk."""
