"""A real browser without a screen, for one test."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from support.programs import require_program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver.remote.webdriver import WebDriver

SWITCHES = (
    "--headless=new",
    "--no-sandbox",  # which root can't have; the pages are ours
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--ignore-certificate-errors",
)


@contextmanager
def browser() -> Iterator[WebDriver]:
    """Run Chromium; it ends with the block, and so does what drives it."""
    options = webdriver.ChromeOptions()
    for switch in SWITCHES:
        options.add_argument(switch)
    options.binary_location = require_program("chromium", "chromium")
    service = Service(require_program("chromedriver", "chromium-driver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.set_script_timeout(60)
        yield driver
    finally:
        driver.quit()
