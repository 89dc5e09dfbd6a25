"""crm: owns users, leads and deals."""
