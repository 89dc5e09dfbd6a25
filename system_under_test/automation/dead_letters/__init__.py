"""Triage of dead letters: over HTTP (`api`), and on the command line (`python -m …automation.dead_letters`)."""
