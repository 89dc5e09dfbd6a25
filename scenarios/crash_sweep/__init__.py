"""The crash sweep: a service is killed right before and right after everything that leaves it or comes to it."""
