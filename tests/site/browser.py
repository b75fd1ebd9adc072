"""Chromium without a window, and what it says about a page.

The package index has selenium; the browser and its driver are the system's. Nothing
is downloaded, and no name is looked up: a page that needs another machine fails.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import pytest

pytest.importorskip("selenium", reason="cannot: selenium: it is not installed")

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.command import Command
from selenium.webdriver.support.expected_conditions import text_to_be_present_in_element
from selenium.webdriver.support.wait import WebDriverWait

Theme = Literal["light", "dark"]

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_FLAGS: Final = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",  # containers have little of it
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--headless",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-first-run",
    "--no-sandbox",  # which root can't have
)
_PATIENCE: Final = 20  # seconds, until a script has done its work
_HEIGHT: Final = 844  # CSS pixels, of a telephone
_TALLEST: Final = 5000  # CSS pixels of a page that its picture shows
_TELEPHONE: Final = 640  # CSS pixels; what is narrower is one
_PAGE: Final = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")


class Browser:
    """One window, which shows one page at a time."""

    def __init__(self) -> None:
        browser = next(filter(None, map(shutil.which, _NAMES)), None)
        driver = shutil.which("chromedriver")
        if browser is None or driver is None:
            pytest.skip("cannot: chromium: it or chromedriver is not installed")
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for flag in _FLAGS:
            options.add_argument(flag)
        wanted = {"browser": "ALL", "performance": "ALL"}
        options.set_capability("goog:loggingPrefs", wanted)
        self._driver = webdriver.Chrome(options, Service(driver))
        self._width = 0

    def close(self) -> None:
        self._driver.quit()

    def open(self, url: str) -> None:
        """Open a page and wait until all that belongs to it is there."""
        for name in ("browser", "performance"):
            self._log(name)  # of another page, whose test failed before it asked
        self._driver.get(url)

    def set_screen(self, width: int, theme: Theme) -> None:
        """Show the page on a screen of that width, in CSS pixels, in that theme."""
        self._width = width
        self._tell(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=_HEIGHT,
            deviceScaleFactor=1,
            mobile=width < _TELEPHONE,
        )
        preferred = {"name": "prefers-color-scheme", "value": theme}
        self._tell("Emulation.setEmulatedMedia", features=[preferred])

    def complaints(self) -> list[str]:
        """Return what is wrong with the page on this screen; see ``page.js``."""
        found: list[str] = self._driver.execute_script(_PAGE, self._width)
        return found

    def wait_for(self, selector: str, text: str) -> None:
        """Wait until the page has such an element with such a text in it."""
        WebDriverWait(self._driver, _PATIENCE).until(
            text_to_be_present_in_element((By.CSS_SELECTOR, selector), text)
        )

    def texts(self, selector: str) -> list[str]:
        """Return the text of each element that the selector finds."""
        script = "return [...document.querySelectorAll(arguments[0])]"
        found: list[str] = self._driver.execute_script(
            f"{script}.map((element) => element.innerText)", selector
        )
        return found

    def take_picture(self, path: Path) -> None:
        """Write the page as JPEG, from its top."""
        height = self._driver.execute_script(
            "return document.documentElement.scrollHeight"
        )
        size = {"width": self._width, "height": min(height, _TALLEST)}
        picture = self._tell(
            "Page.captureScreenshot",
            format="jpeg",
            quality=80,
            captureBeyondViewport=True,
            clip={"x": 0, "y": 0, "scale": 1, **size},
        )
        path.write_bytes(base64.b64decode(picture["data"]))

    def incidents(self, origin: str) -> list[str]:
        """Return what went wrong since the last call: words and requests.

        A word is whatever a script or the browser writes to the console. A request
        mustn't fail, and mustn't go anywhere but to *origin*.
        """
        words = [entry["message"] for entry in self._log("browser")]
        return [*words, *self._bad_requests(origin)]

    def _bad_requests(self, origin: str) -> Iterator[str]:
        for entry in self._log("performance"):
            event = json.loads(entry["message"])["message"]
            parameters = event["params"]
            match event["method"]:
                case "Network.requestWillBeSent":
                    url = parameters["request"]["url"]
                    if not url.startswith((origin, "data:", "blob:")):
                        yield f"leaves the site: {url}"
                case "Network.responseReceived":
                    response = parameters["response"]
                    if response["status"] >= 400:
                        yield f"{response['status']}: {response['url']}"
                case "Network.loadingFailed":
                    yield f"not loaded: {parameters}"

    def _log(self, name: str) -> list[dict[str, Any]]:
        answer = self._driver.execute(Command.GET_LOG, {"type": name})
        entries: list[dict[str, Any]] = answer["value"]
        return entries

    def _tell(self, command: str, **parameters: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._driver.execute_cdp_cmd(command, parameters)
        return answer
