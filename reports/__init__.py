"""Turns a finished run into something to read."""
