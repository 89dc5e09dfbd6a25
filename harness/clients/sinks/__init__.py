"""The world outside of the system: who receives its webhooks and its mail, and writes down what came."""
