"""How every script talks: arguments from its docstring, one summary, a sentence instead of a traceback."""

import argparse
import contextlib
import os
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lib.credentials import masked, shared_warning
from lib.errors import UserError


def parser(doc: str | None) -> argparse.ArgumentParser:
    """An ArgumentParser whose --help is the script's docstring (which holds the command)."""
    summary = (doc or "").strip()
    program = re.search(r"python -m (scripts\.\w+|demo\.\w+)", summary)
    return argparse.ArgumentParser(
        prog=f"python -m {program.group(1)}" if program else None, description=summary, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def run(main: Callable[[], int | None]) -> None:
    """Run main and exit: 0, its own code, 1 with one sentence for a UserError, 130 for Ctrl-C. No key is ever printed."""
    with contextlib.redirect_stdout(_Masked(sys.stdout)), contextlib.redirect_stderr(_Masked(sys.stderr)):
        _run(main)


class _Masked:
    """A stream that shows no secret of the environment, whoever writes to it: libraries log what servers answer."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(masked(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _run(main: Callable[[], int | None]) -> None:
    try:
        sys.exit(main() or 0)
    except UserError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nstopped. Run the same command again to go on from here.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception:  # a bug keeps its traceback
        traceback.print_exc()
        sys.exit(1)


def printable(text: str) -> str:
    """Text that a terminal shows and never acts on: control characters (ANSI escapes, bidi overrides) become `?`.

    The joiner inside emoji stays: without it a family falls apart.
    """
    return "".join(c if c in "\n\t\u200d" or c.isprintable() else "?" for c in text)


def summary(stage: str, n_kept: int, reasons: Iterable[str], unit: str = "pairs") -> str:
    """The one table a stage prints: kept of total, then the reasons, most frequent first."""
    counts = Counter(reasons)
    n_in = n_kept + counts.total()
    share = f" ({n_kept / n_in:.0%})" if n_in else ""
    width = max([len(reason) for reason in counts], default=0)
    rows = [f"  {reason:<{width}}  {n:>6,}" for reason, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    return "\n".join([f"{stage}: kept {n_kept:,} of {n_in:,} {unit}{share}", *rows])


def confirm(question: str) -> None:
    """Ask before money is spent or something leaves the machine. YES=1 answers yes; without a terminal the answer is no."""
    if os.environ.get("YES") == "1":
        return
    if not sys.stdin.isatty():
        raise UserError(f"{question} Nobody is here to answer: run it in a terminal, or set YES=1.")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise UserError("Stopped: not confirmed. Nothing was spent or sent.")


def load_env() -> None:
    """Put the lines of .env into the environment; what is set already wins. A warning if others can read the file."""
    from dotenv import load_dotenv

    if warning := shared_warning(Path(".env")):
        print(f"warning: {warning}", file=sys.stderr)
    load_dotenv(".env", override=False)
