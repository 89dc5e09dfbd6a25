"""The house stands as drawn: imports go one way, types hold, style holds, nothing committed names what it must not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.target import PROJECT_ROOT

BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ["lint-imports", "--no-cache"],
        ["ruff", "check", "--quiet", "."],
        ["ruff", "format", "--check", "--quiet", "."],
        ["mypy", "--no-error-summary"],
    ],
    ids=["import-linter", "ruff check", "ruff format", "mypy strict"],
)
def test_the_tree_is_clean(command: list[str]) -> None:
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_lock_file_names_no_download_host() -> None:
    text = (PROJECT_ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index-url" not in text
    assert "--find-links" not in text


def test_the_project_does_not_refer_to_what_lies_beside_it() -> None:
    """A clone has to be whole by itself; only CI may use the engine that its machine offers."""
    beside = "../" + "shared"
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    files = [PROJECT_ROOT / name for name in listed.stdout.split("\n") if name and not name.startswith(".ci/")]
    guilty = [str(file) for file in files if file.is_file() and beside in file.read_text("utf-8", "replace")]
    assert guilty == []
