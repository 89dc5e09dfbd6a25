"""Allure Report 3, which draws results as pages: a program for Node.js, from its package in the npm registry.

Optional on a machine: every run leaves its results, and whoever has Allure elsewhere can draw them there.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from harness.environment.folders import cache_folder

PACKAGE = "allure"
VERSION = "3.18.0"
OLDEST_NODE = 20
_PROGRAM = Path("node_modules", PACKAGE, "cli.js")


def program() -> Path | None:
    """The script that Node.js has to run; None where it is not installed, or not in this version."""
    script = cache_folder(PACKAGE) / _PROGRAM
    package = script.with_name("package.json")
    if not script.is_file() or not package.is_file():
        return None
    return script if json.loads(package.read_bytes()).get("version") == VERSION else None


def node() -> str | None:
    """Node.js, if it is here. How old it is shows when Allure runs: to ask it takes longer than all other look-ups."""
    return shutil.which("node")


def missing() -> str | None:
    """What is missing to draw results; None if nothing is."""
    if node() is None:
        return f"Node.js was not found ({OLDEST_NODE} or newer is needed)"
    return None if program() else f"Allure Report {VERSION} was not found"


def install_command() -> list[str]:
    """The command that provides it, where Node.js and npm are."""
    folder = cache_folder(PACKAGE)
    return ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), f"{PACKAGE}@{VERSION}"]


def remedy() -> str:
    """What a person has to do."""
    needs = "" if node() else f"install Node.js {OLDEST_NODE} or newer with npm, then "
    return needs + " ".join(install_command())
