"""Who tests the tests: bugs planted into the system and into the checks, each of which has to be noticed."""
