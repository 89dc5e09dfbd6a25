"""The matrix: every edge of the target × every toxic × both directions, each with the same workload, each attested."""
