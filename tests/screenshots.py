"""The screenshots of the README: the report and the demo of the quickstart, each in light and in dark.

    make quickstart && .venv/bin/python -m tests.screenshots

Writes docs/images/{report,demo}-{light,dark}.png, with the Chromium of the tests.
"""

import contextlib
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lib.base.console import run
from lib.base.errors import UserError
from lib.base.files import write_bytes
from tests.browser import start

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "adapters" / "tiny" / "eval" / "offline" / "report.html"
IMAGES = ROOT / "docs" / "images"
TWEET = "We shipped it on a Friday at 5 pm. What could go wrong?"
SCALE = 2  # pixels of the image per pixel of the page: sharp on every screen
N_COLOURS = 64  # of the palette: a page of text needs no more, and stays far below MAX_KB
MAX_KB = 200
LIMIT_MS = 120_000
# Where the last element that is seen whole ends: no line of text is cut.
WHOLE = """height => {
  const parts = [...document.querySelectorAll("main > *")].map(part => part.getBoundingClientRect())
  const seen = parts.filter(part => part.bottom <= height)
  const next = parts[seen.length]
  return seen.length && next ? Math.min(Math.max(...seen.map(part => part.bottom)) + 24, next.top) : height
}"""


@contextlib.contextmanager
def demo() -> Iterator[str]:
    """The address of the demo of RUN=tiny, while it runs."""
    command = [sys.executable, "-m", "demo.app", "--config", "configs/train-tiny.yaml"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        lines = (line.split() for line in process.stdout)
        url = next((words[1] for words in lines if words[:1] == ["open"]), None)
        if url is None:
            raise UserError("The demo does not start: look what `make demo RUN=tiny` says.")
        yield url
    finally:
        process.terminate()
        process.wait()


def report_page(page: Any) -> None:
    """The verdict and what follows it."""
    page.goto(REPORT.as_uri())


def demo_page(page: Any, url: str) -> None:
    """Both replies to one tweet, finished."""
    page.goto(url)
    page.locator("#tweet textarea").fill(TWEET)
    page.locator("#send").click()
    page.wait_for_selector("#send:enabled", timeout=LIMIT_MS)  # off from the click to the end of the reply


def taken(browser: Any, scheme: str, url: str) -> dict[str, bytes]:
    """{name: PNG} of both pages in one colour scheme."""
    images = {}
    for name, height in (("report", 860), ("demo", 620)):
        size = {"width": 900, "height": height}
        context = browser.new_context(
            viewport=size, device_scale_factor=SCALE, color_scheme=scheme, reduced_motion="reduce"
        )
        page = context.new_page()
        report_page(page) if name == "report" else demo_page(page, url)
        page.mouse.move(0, 0)
        page.evaluate("document.activeElement.blur()")
        clip = {"x": 0, "y": 0, "width": size["width"], "height": page.evaluate(WHOLE, height)}
        images[f"{name}-{scheme}"] = _small(page.screenshot(animations="disabled", clip=clip))
        context.close()
    return images


def _small(png: bytes) -> bytes:
    """The same picture in a palette of its own."""
    from PIL import Image

    out = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(N_COLOURS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    if not REPORT.is_file():
        raise UserError(f"{REPORT.relative_to(ROOT)} is not there: run `make quickstart` first.")
    from playwright.sync_api import sync_playwright

    with demo() as url, sync_playwright() as api:
        browser = start(api)
        images = taken(browser, "light", url) | taken(browser, "dark", url)
        browser.close()
    for name, png in images.items():
        if len(png) > 1000 * MAX_KB:
            raise UserError(
                f"{name}.png would have {len(png) // 1000} kB, more than {MAX_KB}. Lower N_COLOURS."
            )
    for name, png in images.items():
        write_bytes(IMAGES / f"{name}.png", png)
        print(f"wrote docs/images/{name}.png ({len(png) // 1000} kB)")


if __name__ == "__main__":
    run(main)
