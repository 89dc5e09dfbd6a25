"""Load: when requests are meant to begin, what became of them, and whether that is good enough.

A load run leaves the evidence of a scenario, which all properties judge, and in ``RUN/load/`` what is told here.
"""
