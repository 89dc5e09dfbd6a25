"""Does what docs/tutorial.md tells a newcomer to do, line by line: ``make tutorial``.

In a fresh clone of what is committed, so that nothing of this folder helps or is harmed. A line has to end with 0, or
with the exit code that its comment names.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from harness.target import PROJECT_ROOT

_WITHIN_S = 900
_BOX = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
_EXPECTED = re.compile(r"# exit code (\d+)")


def lines(page: str) -> Iterator[tuple[str, int]]:
    """Each command of the page, and the exit code that it shall have."""
    for box in _BOX.findall(page):
        for line in box.splitlines():
            expected = _EXPECTED.search(line)
            yield line.partition("#")[0].strip(), int(expected[1]) if expected else 0


def main() -> None:
    """Exit code 1 at the first line that ends otherwise than told."""
    with tempfile.TemporaryDirectory(prefix="tutorial-") as folder:
        clone = Path(folder) / "gauntlet"
        subprocess.run(["git", "clone", "-q", str(PROJECT_ROOT), str(clone)], check=True)
        began = time.monotonic()
        for command, expected in lines((clone / "docs" / "tutorial.md").read_text(encoding="utf-8")):
            print(f"\n$ {command}", flush=True)
            code = subprocess.run(["bash", "-c", command], cwd=clone, timeout=_WITHIN_S, check=False).returncode
            if code != expected:
                sys.exit(f"tutorial: {command!r} ended with {code}, and docs/tutorial.md says {expected}")
        print(f"\ntutorial: every line did what it says, in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
