"""pipeline: owns the stages of leads and deals, and their history."""
