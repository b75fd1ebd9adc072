"""Each page is readable on a telephone and on a desk, light and dark, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from .browser import Browser, Theme
from .pages import PAGES

WIDTHS: Final = (390, 1280)  # CSS pixels: a telephone, and a desk
THEMES: Final[tuple[Theme, ...]] = ("light", "dark")

pytestmark = pytest.mark.timeout(120)  # of a busy machine; a long page takes 5 seconds


@pytest.mark.parametrize("page", PAGES)
def test_page(page: str, browser: Browser, origin: str, pictures: Path) -> None:
    """A page fits each screen, can be read, and needs nothing but itself.

    Nothing is wider than the screen or cut off: only code and tables of figures
    scroll. Text has the contrast that WCAG asks for. Nothing is written to the
    console, no request fails, and none leaves this machine.
    """
    wrong = []
    browser.open(origin + page)

    for width in WIDTHS:
        for theme in THEMES:
            browser.set_screen(width, theme)
            found = browser.complaints()
            wrong += [f"{width}, {theme}: {complaint}" for complaint in found]
            name = page.removesuffix(".html").replace("/", "-")
            browser.take_picture(pictures / f"{name}-{width}-{theme}.jpg")

    assert wrong + browser.incidents(origin) == []
