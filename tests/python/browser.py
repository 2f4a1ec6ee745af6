"""A real browser for the pages that people look at: headless Chromium, driven by Selenium."""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

# It asks nobody for anything: there is no network where the tests run.
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HEIGHT = 900
PATIENCE_SECONDS = 60


class Page:
    """A page as somebody sees it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self._driver = driver

    def run(self, script: str) -> Any:
        """Run JavaScript in the page, and return what it returns."""
        return self._driver.execute_script(script)

    def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript expression holds."""
        wait = WebDriverWait(self._driver, PATIENCE_SECONDS)
        wait.until(lambda _: self.run(f"return Boolean({condition})"), f"never: {condition}")

    def text(self) -> str:
        """Return the words that are to be seen."""
        return self.run("return document.body.innerText")

    def errors(self) -> list[str]:
        """Return what the console complained of since it was last asked."""
        return [
            entry["message"]
            for entry in self._driver.get_log("browser")
            if entry["level"] == "SEVERE"
        ]

    def screenshot(self, path: Path) -> None:
        """Write a PNG of the page from top to bottom."""
        what = {"format": "png", "captureBeyondViewport": True}
        taken = self._driver.execute_cdp_cmd("Page.captureScreenshot", what)
        path.write_bytes(base64.b64decode(taken["data"]))


@contextmanager
def open_page(address: str | Path, width: int) -> Iterator[Page]:
    """Open a file or a URL in a window of so many pixels; a narrow one is a telephone's.

    The test is skipped, saying so, where there is no browser.
    """
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    chromedriver = shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("no browser found: apt-get install chromium chromium-driver")
    url = address.resolve().as_uri() if isinstance(address, Path) else address
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        driver = webdriver.Chrome(options, Service(chromedriver))
        try:
            screen = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1}
            driver.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride", {**screen, "mobile": width < 600}
            )
            driver.get(url)
            yield Page(driver)
        finally:
            driver.quit()
