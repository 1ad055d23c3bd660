"""A page opened in headless Chromium, at a given size and colour scheme, with nothing to reach on the network."""

import base64
import json
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_DRIVERS = ("chromedriver",)


def _first(names: tuple[str, ...]) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


def why_no_browser() -> str | None:
    """Say what is missing to run the browser tests, or None if nothing is."""
    missing = [kind for kind, names in (("Chromium", _BROWSERS), ("chromedriver", _DRIVERS)) if _first(names) is None]
    if not missing:
        return None
    return f"{' and '.join(missing)} not found on PATH (on Debian: apt-get install chromium chromium-driver)"


class Browser:
    """One browser for many pages; the selenium driver is at `driver`, and `open` returns it."""

    def __init__(self) -> None:
        options = Options()
        options.binary_location = _first(_BROWSERS) or ""
        for flag in (
            "--headless=new",
            "--no-sandbox",  # containers run as root, where the sandbox does not start
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--allow-file-access-from-files",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--enable-unsafe-swiftshader",  # WebGL in software, for 3-D figures
            "--force-device-scale-factor=1",
        ):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(_first(_DRIVERS)))
        self.driver.set_page_load_timeout(60)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self.driver.quit()

    def open(self, page: Path, *, width: int = 1400, height: int = 900, dark: bool = False) -> Any:
        """Load a file at a window size (narrower than a desktop window may be) and a preferred colour scheme."""
        self._drain()
        command = self.driver.execute_cdp_cmd
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        command("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        command("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get(page.resolve().as_uri())
        return self.driver

    def errors(self) -> list[str]:
        """Console errors since the page was opened, uncaught exceptions among them."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def requests(self) -> list[str]:
        """Addresses that the page asked for and that are not local."""
        events = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        asked = (e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent")
        return [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))]

    def overflow(self) -> int:
        """How far the page sticks out of its window sideways, in pixels."""
        return self.driver.execute_script(
            "const e = document.documentElement; return Math.max(0, e.scrollWidth - e.clientWidth);"
        )

    def picture(self, path: Path) -> Path:
        """Save the whole page, below the fold too."""
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "format": "png"})
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    def _drain(self) -> None:
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
