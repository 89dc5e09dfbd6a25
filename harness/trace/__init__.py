"""The causal graph of one correlation id: which line had to be followed by which, and where the chain broke."""
