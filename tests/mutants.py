"""Mutations: small faults put into a copy of the project, one at a time, which the tests have to notice.

    python -m tests.mutants [tests/mutations/data.toml ...] [--write docs/reliability.md]

A list is TOML: entries of `says` (the sentence that the fault breaks), `file`, `old` (stands there exactly
once), `new`, `tests` (arguments of pytest) and, where the tests cannot notice it, `lives` (why). What is
known of a mutation is kept in .mutants.jsonl as long as its file and its tests stay as they are.
"""

import argparse
import hashlib
import importlib
import json
import multiprocessing
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
LISTS = sorted((ROOT / "tests" / "mutations").glob("*.toml"))
KEPT = ROOT / ".mutants.jsonl"
LIMIT_S = 300  # a mutation that hangs is noticed, too
N_WORKERS = 2
# Imported once, before the processes that test fork. None of the project's own modules is among them.
LIBRARIES = (
    *("pytest", "hypothesis", "pydantic", "yaml", "jinja2", "numpy", "scipy.stats", "statsmodels.api"),
    *("sklearn.linear_model", "sklearn.feature_extraction.text", "langdetect", "anthropic", "apify_client"),
)
OF_MODELS = ("torch", "transformers", "peft")
WITH_MODELS = {"model", "train", "export", "evaluate", "publish", "demo"}


@dataclass(frozen=True)
class Mutation:
    """One fault. room: the list's name."""

    room: str
    says: str
    file: str
    old: str
    new: str
    tests: str
    lives: str = ""

    def fits(self) -> bool:
        """False if the file has moved on: the list has to be mended."""
        path = ROOT / self.file
        return path.is_file() and path.read_text(encoding="utf-8").count(self.old) == 1

    def key(self) -> str:
        """Hash of what the verdict depends on: the fault, its file, the tests."""
        named = [Path(word.partition("::")[0]) for word in shlex.split(self.tests) if word.endswith(".py")]
        parts = [self.old, self.new, self.tests, *((ROOT / path).read_text() for path in named)]
        return hashlib.sha256("\0".join([(ROOT / self.file).read_text(), *parts]).encode()).hexdigest()[:16]


def mutations(lists: list[Path]) -> list[Mutation]:
    """All entries of these lists. A TypeError names a key that is none."""
    return [
        Mutation(room=path.stem, **entry)
        for path in lists
        for entry in tomllib.loads(path.read_text(encoding="utf-8"))["mutation"]
    ]


def copy_tree(folder: Path) -> Path:
    """The project's files and its virtual environment in another folder."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to((ROOT / ".venv").resolve())
    return folder


def tree() -> Path:
    """This worker's copy of the project, made when it is first asked for."""
    folder = Path(tempfile.gettempdir()) / f"mutants-{os.getppid()}" / str(os.getpid())
    return folder if folder.exists() else copy_tree(folder)


def passes(tests: str) -> bool:
    """True if these tests pass in this worker's copy, in a process of their own."""
    folder = tree()
    if not (child := os.fork()):
        _test(folder, tests)
    deadline = time.monotonic() + LIMIT_S
    while not (done := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < deadline:
        time.sleep(0.02)
    if not done[0]:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return bool(done[0]) and os.waitstatus_to_exitcode(done[1]) == 0


def _test(folder: Path, tests: str) -> None:
    """Run the tests as a fresh Python in folder would, and end this process."""
    os.setsid()
    os.chdir(folder)
    output = os.open(folder / "mutant.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for name in [
        name for name in sys.modules if name.partition(".")[0] in ("lib", "tests", "scripts", "demo")
    ]:
        del sys.modules[name]
    sys.modules["__main__"] = ModuleType("__main__")
    sys.path[:] = [str(folder), *(path for path in sys.path if path not in ("", str(ROOT)))]
    code = 3
    try:
        quick = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", "-m", "not slow"]
        code = int(sys.modules["pytest"].main([*quick, *shlex.split(tests)]))
    finally:
        os._exit(code)


def try_out(mutation: Mutation) -> str:
    """killed | survived | stale | broken (its tests fail without it)"""
    if not mutation.fits():
        return "stale"
    path = tree() / mutation.file
    content = path.read_text(encoding="utf-8")
    try:
        _write(path, content.replace(mutation.old, mutation.new))
        if passes(mutation.tests):
            return "survived"
    finally:
        _write(path, content)
    return "killed" if pass_without(mutation.tests) else "broken"


@cache
def pass_without(tests: str) -> bool:
    """True if these tests pass while there is no mutation."""
    return passes(tests)


def _write(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()  # two versions within a second look alike to Python


def known() -> dict[str, str]:
    """key -> killed or survived, of earlier runs."""
    lines = KEPT.read_text().splitlines() if KEPT.is_file() else []
    return {line["key"]: line["verdict"] for line in map(json.loads, lines)}


def table(found: list[tuple[Mutation, str]]) -> str:
    """A row for each room, then the survivors, each with its reason."""
    lines = ["| room | mutations | noticed | share |", "| --- | ---: | ---: | ---: |"]
    rooms = sorted({mutation.room for mutation, _ in found})
    for room in [*rooms, "all"]:
        verdicts = [verdict for mutation, verdict in found if room in (mutation.room, "all")]
        n_killed = verdicts.count("killed")
        lines.append(f"| {room} | {len(verdicts)} | {n_killed} | {n_killed / len(verdicts):.0%} |")
    lived = [mutation for mutation, verdict in found if verdict != "killed"]
    return "\n".join(
        [*lines, "", "Not noticed:", ""]
        + [f"- {one.room}, `{one.file}`: {one.says} ({one.lives or 'no test yet'})" for one in lived]
        + ["- none"] * (not lived)
    )


def try_all(todo: list[Mutation]) -> int:
    """Try these out, say and keep each verdict. Returns how many entries of the lists have to be mended."""
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    needs_models = not WITH_MODELS.isdisjoint(one.room for one in todo)
    for library in (*LIBRARIES, *OF_MODELS * needs_models) if todo else ():
        importlib.import_module(library)
    n_bad = 0
    with ProcessPoolExecutor(N_WORKERS, mp_context=multiprocessing.get_context("fork")) as pool:
        # The keys first: a file that is edited meanwhile is not what was tried.
        running = {pool.submit(try_out, one): (one, one.fits() and one.key()) for one in todo}
        for done in as_completed(running):
            (one, key), verdict = running[done], done.result()
            print(f"{verdict:9} {one.file}: {one.says}", flush=True)
            n_bad += verdict in ("stale", "broken")
            if verdict in ("killed", "survived"):
                with KEPT.open("a") as kept:
                    kept.write(json.dumps({"key": key, "verdict": verdict, "says": one.says}) + "\n")
    shutil.rmtree(Path(tempfile.gettempdir()) / f"mutants-{os.getpid()}", ignore_errors=True)
    return n_bad


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lists", nargs="*", type=Path, default=LISTS)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="its bench:mutations table is replaced")
    args = parser.parse_args()
    seen, listed = known(), mutations(args.lists)
    n_bad = try_all([one for one in listed if not one.fits() or one.key() not in seen])
    seen = known()
    every = mutations(LISTS) if args.write else listed
    shown = table([(one, seen.get(one.key(), "not tried")) for one in every if one.fits()])
    print(shown)
    if args.write:
        from lib.base.benchmarks import write_table

        write_table(args.write, "mutations", shown)
    return n_bad


if __name__ == "__main__":
    sys.exit(main())
