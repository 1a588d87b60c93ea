"""The terminal side of every script: arguments, a question, a summary, a sentence instead of a traceback."""

import argparse
import contextlib
import errno
import io
import os
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lib.base.credentials import masked, shared_warning
from lib.base.errors import ADVICE, UserError
from lib.base.text_files import read_text

MAX_ENV_BYTES = 100_000


def parser(doc: str | None) -> argparse.ArgumentParser:
    """An ArgumentParser whose --help is the script's docstring (which holds the command)."""
    summary = (doc or "").strip()
    program = re.search(r"python -m (scripts\.\w+|demo\.\w+)", summary)
    return argparse.ArgumentParser(
        prog=f"python -m {program.group(1)}" if program else None,
        description=summary,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def run(main: Callable[[], int | None]) -> None:
    """Run main and exit: 0, its own code, 1 and a sentence for a UserError or a full disk, 130 for Ctrl-C.

    A reader of the output that left early (`| head -1`) ends it with 141, as it would a shell command. No key
    is ever printed.
    """
    _ready_streams()
    with contextlib.redirect_stdout(_Masked(sys.stdout)), contextlib.redirect_stderr(_Masked(sys.stderr)):
        _run(main)


class _Masked:
    """A stream that shows no secret of the environment: libraries, too, log what servers answer."""

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
        try:
            code = main() or 0
        except SystemExit as leaving:  # --help
            code = leaving.code
        sys.stdout.flush()
    except UserError as error:
        code = _said(f"error: {printable(str(error))}", 1)
    except KeyboardInterrupt:
        code = _said("\nstopped. Run the same command again to go on from here.", 130)
    except BrokenPipeError:
        code = _said("", 141)
    except Exception as error:
        sentence = system_sentence(error)
        code = _said(
            f"error: {printable(sentence)}" if sentence else traceback.format_exc(), 1
        )  # a bug keeps its traceback
    sys.exit(code)


def _ready_streams() -> None:
    """Streams that a script can use: a closed one is empty, one of ASCII shows `?` for the rest."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _said(text: str, code: int) -> int:
    """Say it on stderr where that is open.

    What could not be written to stdout is let go, or Python tries again at exit.
    """
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with contextlib.suppress(OSError):
        if text:
            print(text, file=sys.stderr, flush=True)
    return code


def system_sentence(error: Exception) -> str | None:
    """A refusal of the system (a full disk, a missing right) as a sentence, or None: then it is a bug."""
    if not isinstance(
        error, OSError
    ):  # safetensors and other Rust libraries name the number; torch.save says this of a full disk
        number = re.search(r"\(os error (\d+)\)", str(error))
        full = errno.ENOSPC if "inline_container" in str(error) and "unexpected pos" in str(error) else 0
        error = OSError(code := int(number[1]) if number else full, os.strerror(code))
    if type(error).__module__ != "builtins":  # of a network library, whose numbers mean something else
        return None
    advice = ADVICE.get(error.errno or 0)
    if error.filename is None:
        return f"{error.strerror}. {advice}" if advice else None
    where = " -> ".join(
        os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)
    )
    return f"{where}: {error.strerror}. {advice or 'Look what lies at this path, then run it again.'}"


def printable(text: str) -> str:
    """Text on which no terminal acts: control characters (ANSI escapes, bidi overrides) become `?`.

    The joiner inside emoji stays: without it a family falls apart.
    """
    return "".join(c if c in "\n\t\u200d" or c.isprintable() else "?" for c in text)


def summary(stage: str, n_kept: int, reasons: Iterable[str], unit: str = "pairs") -> str:
    """The one table a stage prints: kept of total, then the reasons, most frequent first."""
    counts = Counter(reasons)
    n_in = n_kept + counts.total()
    share = f" ({n_kept / n_in:.0%})" if n_in else ""
    width = max([len(reason) for reason in counts], default=0)
    rows = [
        f"  {reason:<{width}}  {n:>6,}"
        for reason, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    return "\n".join([f"{stage}: kept {n_kept:,} of {n_in:,} {unit}{share}", *rows])


def counted(n: int, noun: str) -> str:
    """`1 tweet`, `2 tweets`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def made(page: Path) -> None:
    """Say where a page was written; OPEN=1 shows it in the browser as well."""
    print(f"wrote {page}", flush=True)
    if os.environ.get("OPEN") == "1":
        import webbrowser

        if not webbrowser.open(page.resolve().as_uri()):
            print(f"no browser opens here: open {page} yourself", file=sys.stderr)


def confirm(question: str, otherwise: str = "Nothing was spent or sent.") -> None:
    """Ask before money is spent, something leaves the machine, or something is deleted.

    YES=1 answers yes; without a terminal the answer is no.
    """
    if os.environ.get("YES") == "1":
        return
    if not sys.stdin.isatty():
        raise UserError(f"{question} Nobody is here to answer: run it in a terminal, or set YES=1.")
    try:
        answer = input(f"{question} [y/N] ")
    except (EOFError, UnicodeDecodeError):  # Ctrl-D; a byte of another encoding
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise UserError(f"Stopped: not confirmed. {otherwise}")


def load_env() -> None:
    """Put the lines of .env into the environment; what is set already wins. Warns if others can read it.

    Raises UserError naming the line, never its value.
    """
    from dotenv import load_dotenv
    from dotenv.parser import parse_stream

    path = Path(".env")
    if not os.path.lexists(path):
        return
    if warning := shared_warning(path):
        print(f"warning: {warning}", file=sys.stderr)
    text = read_text(path, MAX_ENV_BYTES)
    for binding in parse_stream(io.StringIO(text)):
        where, value = f"{path}:{binding.original.line}", binding.value or ""
        if binding.error:
            raise UserError(f"{where}: not a line NAME=value. Compare it with .env.example.")
        if (binding.key or "").endswith(("_KEY", "_TOKEN")) and not (value.isascii() and value.isprintable()):
            raise UserError(
                f"{where}: {binding.key} holds a character that no key has: a line break, a curly quote? "
                "Paste it again."
            )
    load_dotenv(stream=io.StringIO(text), override=False)
