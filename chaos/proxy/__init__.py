"""Faults on the wire are driven through a server that speaks Toxiproxy's HTTP API."""
