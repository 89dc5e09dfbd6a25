"""The systems that the gauntlet can be pointed at, one TOML file each; beside them, the code of a second automation."""
