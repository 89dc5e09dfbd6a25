"""What something was measured on, in a few words."""

from __future__ import annotations

import os
import platform


def machine() -> str:
    """Cores, memory, system and Python of this machine."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, {system}"
