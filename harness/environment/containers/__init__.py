"""Stacks whose servers run in containers: the engine, one container, all of a stack's, and how they are removed."""
