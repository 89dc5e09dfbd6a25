"""What a run does. Each scenario drives the system; all properties judge it afterwards, whatever it asserted itself."""
