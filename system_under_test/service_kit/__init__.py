"""What the services share. It knows no lead, deal or rule."""
