"""What the tests of the gauntlet share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import cli

Gauntlet = Callable[..., tuple[int, str]]


@pytest.fixture
def gauntlet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Gauntlet:
    """A command as its users call it, in this process: its exit code, and what it wrote."""

    def call(*words: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["gauntlet", *map(str, words)])
        code: Any = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
        told = capsys.readouterr()
        return code, told.out + told.err

    return call
