"""automation: consumes every event and runs the rules that match."""
