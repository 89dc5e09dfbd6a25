"""Load: profiles, the generator that Locust runs, and the run that boots a stack for it, watches, and judges."""
