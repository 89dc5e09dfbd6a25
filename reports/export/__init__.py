"""A run, or one flow of it, as files for other people's viewers of traces."""
