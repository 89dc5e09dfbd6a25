"""crm: owns leads and deals."""
