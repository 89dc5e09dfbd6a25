"""Judging a log of any size, without the system, the database or the broker: ``gauntlet audit``.

A log is read in blocks. Most flows are proven complete in passing (``harness.trace.ledger``). What is in doubt at the
end is looked up again, by an index of which flow stands in which block, and judged by the edges as in any run. So
memory is bounded by the flows that are open, and by those looked at again at one time.
"""
