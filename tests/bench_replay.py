"""Seconds until the replay of recorded replies is on the screen: from its command, and from opening its page.

    python -m tests.bench_replay [--write docs/benchmarks.md]

Each round starts the server anew and opens the page in a Chromium without a cache.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from lib.base.benchmarks import machine_line, markdown_table, write_table
from lib.base.console import parser, run
from tests.browser import start

ROOT = Path(__file__).parents[1]
N_ROUNDS = 5
SERVE = """
from demo import page, replay
rows = [replay.Recorded(f"tweet {n} " * 10, f"plain {n} " * 10, f"learned {n} " * 10, 17) for n in range(200)]
page.serve(replay.replay_app(rows, "Base", "Tuned"), page.LOCAL, None, None)
"""
BOTH_JS = "document.querySelector('#right-reply textarea')?.value.startsWith('learned')"
PAINT_JS = "performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000"


def measured(browser: Any) -> tuple[float, float, float]:
    """Seconds from the command to its address, from opening that to the first paint and to both replies."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", SERVE], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        url = process.stdout.readline().split()[1]
        served, page = time.monotonic(), browser.new_context().new_page()
        page.goto(url)
        page.wait_for_function(BOTH_JS)
        there = time.monotonic()
        return served - began, page.evaluate(PAINT_JS), there - served
    finally:
        process.kill()
        process.wait()


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--write", type=Path, metavar="PAGE", help="its bench:replay table is replaced")
    args = arguments.parse_args()
    from playwright.sync_api import sync_playwright

    load = os.getloadavg()[0]
    with sync_playwright() as api:
        browser = start(api)
        rounds = [measured(browser) for _ in range(N_ROUNDS)]
        browser.close()
    names = ("command to address", "page to first paint", "page to both replies")
    rows = [
        [name, f"{median(seconds):.1f}", f"{min(seconds):.1f}", f"{max(seconds):.1f}"]
        for name, seconds in zip(names, zip(*rounds, strict=True), strict=True)
    ]
    table = markdown_table(["seconds", f"median of {N_ROUNDS}", "least", "most"], rows)
    page = f"{machine_line('gradio')}, load {load:.0f} at the start.\n\n{table}"
    print(page)
    if args.write:
        write_table(args.write, "replay", page)


if __name__ == "__main__":
    run(main)
