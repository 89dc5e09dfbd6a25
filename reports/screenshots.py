"""A page as a browser shows it: for the tests of the page, and for the pictures in docs/images."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.environment import chromium
from harness.environment.failures import EnvironmentFailed
from harness.environment.servers import look_around

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WIDTHS = (1400, 360)
"""A desk and a telephone, in pixels."""
_HEIGHTS = {1400: 1000, 360: 740}
_QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
"""A browser that speaks to nobody. No sandbox, as root may not have one: it opens nothing but pages of ours."""


@contextmanager
def browser() -> Iterator[Browser]:
    """The machine's own Chromium, headless. Raises EnvironmentFailed where there is none, with how to install it."""
    program = chromium.program()
    if program is None:
        raise EnvironmentFailed(f"Chromium was not found; to install it: {look_around()[chromium.PACKAGE].remedy}")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise EnvironmentFailed("the package playwright is missing: pip install playwright (make setup does)") from None
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=list(_QUIET))
        try:
            yield opened
        finally:
            opened.close()


def screenshots(opened: Browser, page: Path, folder: Path, name: str) -> list[Path]:
    """What is seen first of a page, on a desk in the light and on a telephone in the dark."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_screenshot(opened, page, width, folder / f"{name}-{width}.png") for width in WIDTHS]


def _screenshot(opened: Browser, page: Path, width: int, file: Path) -> Path:
    scheme: Literal["light", "dark"] = "light" if width == WIDTHS[0] else "dark"
    shown = opened.new_page(viewport={"width": width, "height": _HEIGHTS[width]}, color_scheme=scheme)
    shown.goto(page.resolve().as_uri())
    shown.screenshot(path=file)
    shown.close()
    return file


def opens_in(opened: Browser, page: Path) -> float:
    """How long it takes until a page is there and drawn, in seconds."""
    shown = opened.new_page(viewport={"width": WIDTHS[0], "height": _HEIGHTS[WIDTHS[0]]})
    began = time.monotonic()
    shown.goto(page.resolve().as_uri(), wait_until="load")
    shown.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    took_s = time.monotonic() - began
    shown.close()
    return took_s
