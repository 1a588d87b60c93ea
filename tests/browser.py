"""The Chromium of the tests: which one drives the pages, and, for `make test`, how a fresh machine gets one.

`python -m tests.browser` installs one where there is none, if nobody has to be asked for a password. If
nothing works it prints why, in one line.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
APPS = ("Google Chrome.app/Contents/MacOS/Google Chrome", "Chromium.app/Contents/MacOS/Chromium")
# With a colour emoji font: without one the pages are not what a person sees.
PACKAGES = {
    "apt-get": [
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "chromium", "fonts-noto-color-emoji"],
    ],
    "dnf": [["dnf", "install", "-y", "-q", "chromium", "google-noto-color-emoji-fonts"]],
    "apk": [["apk", "add", "--quiet", "chromium", "font-noto-emoji"]],
    "brew": [["brew", "install", "--quiet", "--cask", "google-chrome"]],
}
PLAYWRIGHT = [sys.executable, "-m", "playwright", "install", "--no-progress", "--only-shell", "chromium"]
LIMIT_S = 300
ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "NONINTERACTIVE": "1",
    "PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "10000",
}


class NoBrowserError(Exception):
    """No Chromium starts on this machine; the message says what was tried."""


def installed() -> Iterator[str | None]:
    """Paths of the installed browsers, best first; None, the last, stands for Playwright's own."""
    yield from filter(None, map(shutil.which, NAMES))
    for folder in (Path("/Applications"), Path.home() / "Applications"):
        yield from (str(folder / app) for app in APPS if (folder / app).is_file())
    yield None


def start(api: Any) -> Any:
    """The first installed browser that starts: a name on PATH may be a stub with no browser behind it.

    Raises NoBrowserError if none does.
    """
    from playwright.sync_api import Error

    failed = []
    for path in installed():
        try:
            # Root cannot have the sandbox, and the pages are our own.
            return api.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except Error:
            failed += [f"{path} does not start"] if path else []
    raise NoBrowserError("; ".join(failed) or "none is installed")


def ways(sudo: list[str] | None) -> Iterator[tuple[str, list[list[str]]]]:
    """(name, commands) of what can install a browser here. sudo: as root() gives it."""
    yield "Playwright's download", [PLAYWRIGHT]
    for manager, commands in PACKAGES.items():
        if shutil.which(manager) and (manager == "brew" or sudo is not None):
            prefix = [] if manager == "brew" else sudo or []
            yield manager, [[*prefix, *command] for command in commands]


def root() -> list[str] | None:
    """What makes a command root's: nothing for root, else `sudo -n`; None where that would ask for a
    password.
    """
    if os.getuid() == 0:
        return []
    sudo = ["sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive"]
    return sudo if shutil.which("sudo") and trouble([*sudo, "true"]) is None else None


def trouble(command: list[str], limit_s: float = LIMIT_S) -> str | None:
    """Why a command failed, in its own words; None if it did not.

    It has a session of its own: nothing in it can ask on the terminal, and all of it ends at the limit.
    """
    process = subprocess.Popen(
        command,
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"not done after {limit_s:g} s"
    if process.returncode == 0:
        return None
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = [line for line in lines if line.lower().startswith(("error", "e:"))] or lines
    return said[0][:200] if said else f"exit {process.returncode}"


def bring(api: Any) -> None:
    """Install a browser, unless one is there, by the first way that works.

    Raises NoBrowserError with all that was tried.
    """
    try:
        return start(api).close()
    except NoBrowserError as none:
        tried = [str(none)]
    for name, commands in ways(root()):
        print(f"browser: none yet; trying {name} (up to {LIMIT_S} s a command)", file=sys.stderr, flush=True)
        if failure := next(filter(None, map(trouble, commands)), None):
            tried.append(f"{name}: {failure}")
            continue
        try:
            return start(api).close()
        except NoBrowserError as none:
            tried.append(f"{name}: it came, but {none}")
    if root() is None:
        tried.append("the system's package manager would ask for a password")
    raise NoBrowserError("; ".join(tried))


if __name__ == "__main__":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        try:
            bring(playwright)
        except NoBrowserError as none:
            print(none)
