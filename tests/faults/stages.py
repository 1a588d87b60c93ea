"""Every command that writes, each on a folder in which it has work to do: the one list of the fault suite."""

import contextlib
import importlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lib.base.console import run
from lib.base.files import read_dicts, read_json, read_jsonl, write_bytes, write_json
from lib.base.ledger import Ledger
from lib.base.seals import seal_of
from lib.data import scorers
from lib.data.decisions import Decision, standing
from lib.data.review import Review
from lib.data.sitting import sitting
from tests.conftest import ROOT, copied
from tests.data.test_stages import CONFIG, items
from tests.eval_data import write_configs, write_data
from tests.items import write_items
from tests.judge.test_claude import set_up
from tests.stubs.anthropic_server import AnthropicStub
from tests.stubs.apify_server import TOKEN, ApifyStub
from tests.stubs.hub_server import hub_server
from tests.stubs.openai_server import OpenAIStub
from tests.stubs.tweets_world import config_text, world

STAMP = re.compile(
    rb"\d{4}-\d\d-\d\d([T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?|(?=\.</p>))"
)  # and the day of a report
SECONDS = re.compile(rb'"(seconds|pid)": [\d.]+')
# Equal texts have equal languages, and finding out is most of a stage's time.
scorers.detect_language = cache(scorers.detect_language)
LOCKS = ("lock", ".lock")


@dataclass(frozen=True)
class Served:
    """A server that a command asks. environment: where it is. bought: what was paid for, to be compared.
    n_paid: how many units, where an answer that was under way may be paid twice."""

    environment: dict[str, str] = field(default_factory=dict)
    bought: Callable[[], Any] = lambda: None
    n_paid: Callable[[], int] = lambda: 0


def nobody() -> AbstractContextManager[Served]:
    return contextlib.nullcontext(Served())


def files_of(folder: Path) -> dict[str, bytes]:
    """All that lies in a folder but locks, with the moments and durations in it made equal."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".lock" and path.name not in LOCKS and "cache" not in path.parts:
            content = STAMP.sub(b"<at>", SECONDS.sub(b"<seconds>", path.read_bytes()))
            found[str(path.relative_to(folder))] = content
    return found


def only(*names: str) -> Callable[[Path], Any]:
    """The files of these names, wherever they lie: of those that hold no hash of a moment."""
    return lambda folder: {
        name: what
        for name, what in files_of(folder).items()
        if Path(name).name in names and "work" not in name
    }


@dataclass(frozen=True)
class Stage:
    """A command. scripts: the programs that it starts. build: fills a folder for it, or the stage whose
    result it starts from. result: what must be
    the same however often it was stopped. serve: the servers that it asks. also: done to the folder at last.
    n_points: at how many moments of it the fast suite looks. at_once: answers that may be lost under way.
    """

    scripts: tuple[str, ...]
    build: Callable[..., None] | str
    command: Callable[[], None]
    result: Callable[[Path], Any] = files_of
    serve: Callable[[], AbstractContextManager[Served]] = nobody
    also: Callable[[Path], None] = lambda folder: None
    n_points: int = 5
    at_once: int = 0


def step(name: str, *arguments: str) -> None:
    """python -m scripts.<name> in this process. Raises SystemExit unless all goes well."""
    sys.argv = [name, *arguments]
    try:
        run(importlib.import_module(f"scripts.{name}").main)
    except SystemExit as end:
        if end.code:
            raise


def made(target: str, sources: list[str], name: str, *arguments: str) -> None:
    """A rule of the Makefile: the step is run where its target is missing or older than a source."""
    path = Path(target)
    times = [Path(source).stat().st_mtime_ns for source in sources if Path(source).exists()]
    if not path.exists() or path.stat().st_mtime_ns < max(times):
        step(name, *arguments)


# --- a data set --------------------------------------------------------------------------------------

SET, OF_SET = "data/x", ("--config", "configs/data-x.yaml")
PAIRS, FILTERED, CLEAN = (f"{SET}/interim/{name}.jsonl" for name in ("pairs", "filtered", "clean"))
PROCESSED, DECISIONS = f"{SET}/processed/manifest.json", f"{SET}/review/decisions.jsonl"


def pair() -> None:
    made(PAIRS, [OF_SET[1], *map(str, Path(f"{SET}/raw").iterdir())], "pair", *OF_SET)


def filter_() -> None:
    made(FILTERED, [PAIRS, OF_SET[1]], "filter", *OF_SET)


def clean() -> None:
    made(CLEAN, [FILTERED, OF_SET[1]], "clean", *OF_SET)


def split() -> None:
    made(PROCESSED, [CLEAN, OF_SET[1], DECISIONS], "split", *OF_SET)


def data_report() -> None:
    made(f"{SET}/report.html", [PROCESSED], "data_report", *OF_SET)


def here(folder: Path, *commands: Callable[[], None]) -> None:
    with contextlib.chdir(folder), contextlib.redirect_stdout(None), contextlib.redirect_stderr(None):
        for command in commands:
            command()


def outdated(folder: Path) -> None:
    """A whole set, and then another config and more items: every file of it is old."""
    (folder / "configs").mkdir()
    (folder / OF_SET[1]).write_text(CONFIG)
    write_items(folder / SET / "raw", items(9))
    os.utime(folder / SET / "raw/items.jsonl", (1767225600, 1767225600))
    here(folder, pair, filter_, clean, split, data_report)
    (folder / OF_SET[1]).write_text(CONFIG.replace("seed: 17", "seed: 18"))
    write_items(folder / SET / "raw", items(13)[-12:], "more.jsonl")


def forget() -> None:
    step("forget", "--handle", "fan10_0")


def review() -> None:
    """make review: a person who decides by the pair, edits, takes back once, and goes on after a kill."""

    def decide(review: Review, name: str) -> None:
        undone = False
        while (shown := review.current) is not None:
            pair, kind = shown.pair, int(shown.pair.id) % 4
            if kind == 0:
                review.drop(pair.id)
                review.why(2)
            elif kind == 1:
                review.edit(pair.id, f"{pair.reply} Yes.")
            else:
                review.keep(pair.id)
                if kind == 2 and not undone:
                    undone = bool(review.undo())
        # A kill between a drop and its reason: the person who comes back gives it.
        if review.greeting.startswith("The last pair was dropped"):
            review.why(2)

    run(lambda: print(sitting(Path(OF_SET[1]), decide)))


def decided(folder: Path) -> Any:
    """What stands: lines of a sitting that was killed may come twice, and an undo is one line more."""
    path = folder / DECISIONS
    stands = standing(read_jsonl(path, Decision)) if path.exists() else {}
    return {one: (line.decision, line.reply) for one, line in stands.items()}


def forgotten(folder: Path) -> Any:
    """Every file, and how many names are on the list: its salt is drawn anew for every list."""
    found = files_of(folder)
    return found | {"data/forgotten.json": len(json.loads(found["data/forgotten.json"])["hashes"])}


# --- bought items ------------------------------------------------------------------------------------


def to_collect(folder: Path) -> None:
    (folder / "configs").mkdir()
    (folder / "configs/data-main.yaml").write_text(config_text(queries="cats, dogs"))


def collect() -> None:
    """make collect, without the pauses of the client between its looks."""
    from apify_client._resource_clients import _resource_client
    from apify_client.http_clients import _base

    no_wait = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
    _base.time = _resource_client.time = no_wait
    step("collect", "--config", "configs/data-main.yaml")


@contextlib.contextmanager
def apify() -> Iterator[Served]:
    with ApifyStub(partial(world, tweets_per_query=1, replies_per_tweet=2)) as stub:
        where = {"APIFY_API_BASE_URL": stub.url, "APIFY_API_TOKEN": TOKEN}
        yield Served(where, lambda: stub.starts())


def items_of(folder: Path) -> Any:
    """Every item, once; the names of files hold the provider's numbers, which follow the order of starts."""
    raw = folder / "data/main/raw"
    lines = [line for path in raw.glob("*.jsonl") for line in path.read_bytes().splitlines()]
    states = sorted(entry.state for entry in Ledger(folder / "data/main/ledger.jsonl").latest().values())
    return sorted(lines), states


# --- an evaluation -----------------------------------------------------------------------------------

OF_EVAL = ("--config", "configs/train-mine.yaml", "--eval", "configs/eval-quick.yaml")
EVAL = "adapters/mine/eval/quick"
REPLIES = only("replies.jsonl", "model_metrics.json")
JUDGMENTS = only("judgments.jsonl", "calibration.json")
PEOPLE = only("judgments.jsonl", "report.json")


@cache
def engine() -> OpenAIStub:
    """One for all: its address is part of what is generated."""
    return OpenAIStub()


def to_generate(folder: Path) -> None:
    processed = write_data(folder, n_prompts=4, n_preferences=8)
    write_bytes(processed / "val.jsonl", (processed / "test.jsonl").read_bytes())
    files = {path.name: seal_of(path.read_bytes()) for path in processed.glob("*.jsonl")}
    filters = {"filter": {"toxicity_model": "none", "language": "en"}}
    about = {"embedding_model": "char-ngrams", "config": filters, "counts": {}, "files": files}
    write_json(processed / "manifest.json", about)
    arms = {
        name: {"base_url": engine().url, "model": model}
        for name, model in zip(("base", "tuned"), engine().models, strict=True)
    }
    write_configs(folder, evaluation={"engine": {"openai": arms}, "systems": ["base", "tuned", "human"]})
    about = {"train_eval_gap": 0.1, "config": {"data": "small"}, "adapter_sha256": "f" * 64}
    write_json(folder / "adapters/mine/manifest.json", about)
    os.utime(folder / "adapters/mine/manifest.json", (1767225600, 1767225600))


def generate() -> None:
    made(f"{EVAL}/replies.jsonl", [OF_EVAL[3]], "generate", *OF_EVAL)


def judge() -> None:
    made(f"{EVAL}/judgments.jsonl", [f"{EVAL}/replies.jsonl", OF_EVAL[3]], "judge", *OF_EVAL)


def report() -> None:
    made(f"{EVAL}/report.json", [f"{EVAL}/judgments.jsonl", OF_EVAL[3]], "report", *OF_EVAL)


def human_eval() -> None:
    step("human_eval", *OF_EVAL)


def to_import(folder: Path) -> None:
    rows = [f"ann,{item['id']},A" for item in read_json(folder / f"{EVAL}/human/key.json")["items"].values()]
    (folder / "ann.csv").write_text("\n".join(["rater,item,choice", *rows]))


def human_import() -> None:
    step("human_eval", *OF_EVAL, "--import", "ann.csv")


def runs() -> None:
    step("runs")


def another(folder: Path) -> None:
    for name in ("mine", "other"):
        write_json(folder / f"adapters/{name}/manifest.json", {"config": {"data": "small"}})


def compare() -> None:
    step("compare", "--runs", "mine", "other")


def crowd() -> None:
    step("crowd", *OF_EVAL, "--people", "3", "--limit", "2")


def planned(folder: Path) -> Any:
    """One plan, booked once: its number is drawn anew for every plan."""
    books = Ledger(folder / f"{EVAL}/human/ledger.jsonl").latest().values()
    return [(entry.state, entry.usd) for entry in books]


def field_plan() -> None:
    if not Path("adapters/mine/field/plan.json").exists():
        step("field", *OF_EVAL, "--posts", "20")
    os.environ["TWEET"] = "My bike broke today"
    step("field", *OF_EVAL)


def field_of(folder: Path) -> Any:
    """How many drafts are written: which arm wrote one is drawn anew in every plan."""
    log = folder / "adapters/mine/field/log.jsonl"
    return len(set(re.findall(rb'"reply": ', log.read_bytes()))) if log.exists() else 0


# --- Claude as the judge -----------------------------------------------------------------------------


def to_ask(batch: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        set_up(folder, batch=batch, orders="one")

    return build


def judged_by_claude() -> None:
    """make eval with Claude, without the pauses between its looks."""
    from lib.judge import claude_batches

    claude_batches.LOOKS_S, claude_batches.FIRST_POLL_S = (0.01,), 0.01
    made(f"{EVAL}/judgments.jsonl", [f"{EVAL}/replies.jsonl", OF_EVAL[3]], "judge", *OF_EVAL)


@contextlib.contextmanager
def claude() -> Iterator[Served]:
    with AnthropicStub() as stub:
        where = {"ANTHROPIC_BASE_URL": stub.url, "ANTHROPIC_API_KEY": stub.KEY}
        yield Served(where, lambda: (set(stub.seen), len(stub.batches)), lambda: len(stub.paid))


def verdicts(folder: Path) -> Any:
    """The verdicts; the account may hold what was lost on the way."""
    path = folder / EVAL
    rows = read_dicts(path / "judgments.jsonl") if (path / "judgments.jsonl").exists() else []
    states = {entry.state for entry in Ledger(path / "ledger.jsonl").latest().values()}
    keys = ("tweet_id", "a", "b", "order", "repeat", "verdict")
    return sorted([row[key] for key in keys] for row in rows), states - {"failed"}


# --- a trained run -----------------------------------------------------------------------------------

OF_RUN = ("--config", "configs/train-tiny.yaml")


def finished(trained: Path, folder: Path) -> None:
    copied(trained, folder)
    for name in ("LICENSE", "configs/eval-offline.yaml"):
        shutil.copy(ROOT / name, folder / name)


def unfinished(trained: Path, folder: Path) -> None:
    finished(trained, folder)
    shutil.rmtree(folder / "adapters/tiny")
    config = folder / OF_RUN[1]
    shorter = config.read_text().replace("epochs: 3", "epochs: 1").replace("patience: 3", "patience: 2")
    config.write_text(shorter)


def export() -> None:
    step("export", *OF_RUN, "--format", "gguf")


def publish() -> None:
    from huggingface_hub import constants

    constants.HF_HUB_DISABLE_XET = True
    step("publish", *OF_RUN, "--repo", "ann/reply-tiny")


@contextlib.contextmanager
def hub() -> Iterator[Served]:
    with hub_server() as server:
        where = {"HF_ENDPOINT": server.url, "HF_TOKEN": server.token, "FORCE": "1"}
        yield Served(where, lambda: [repo.files for repo in server.repos.values()])


def published(folder: Path) -> Any:
    """What was uploaded; the receipt names the commit, which another run of the hub numbers otherwise."""
    found = files_of(folder)
    return {name: content for name, content in found.items() if not name.endswith("publish.json")}


def train() -> None:
    if not Path("adapters/tiny/manifest.json").exists():
        step("train", *OF_RUN)


def weights(folder: Path) -> Any:
    return read_json(folder / "adapters/tiny/manifest.json")["adapter_sha256"]


CLAUDE = {"serve": claude, "n_points": 1, "at_once": 8}
STAGES = {
    "pair": Stage(("pair",), outdated, pair),
    "filter": Stage(("filter",), "pair", filter_),
    "clean": Stage(("clean",), "filter", clean),
    "review": Stage(("review",), "clean", review, decided),
    "split": Stage(("split",), "clean", split),
    "data-report": Stage(("data_report",), "split", data_report),
    "forget": Stage(("forget",), "data-report", forget, forgotten),
    "collect": Stage(("collect",), to_collect, collect, items_of, apify, n_points=2),
    "generate": Stage(("generate",), to_generate, generate, REPLIES, n_points=2),
    "judge": Stage(("judge",), "generate", judge, JUDGMENTS, n_points=2),
    "report": Stage(("report",), "judge", report, n_points=1),
    "runs": Stage(("runs",), "report", runs),
    "compare": Stage(("compare",), another, compare, n_points=2),
    "human-eval": Stage(("human_eval",), "report", human_eval),
    "human-import": Stage(("human_eval",), "human-eval", human_import, PEOPLE, also=to_import, n_points=2),
    "crowd": Stage(("crowd",), "report", crowd, planned),
    "field": Stage(("field",), "generate", field_plan, field_of, n_points=2),
    "claude-live": Stage(("judge",), to_ask("never"), judged_by_claude, verdicts, **CLAUDE),
    "claude-batch": Stage(("judge",), to_ask("always"), judged_by_claude, verdicts, **CLAUDE),
    "export": Stage(("export",), finished, export, n_points=2),
    "publish": Stage(("publish",), finished, publish, published, hub, n_points=2),
}
TRAIN = Stage(("train",), unfinished, train, weights)
NEED_A_RUN = (finished, unfinished)
# What writes nothing of its own, or is put to the same faults elsewhere.
ELSEWHERE = {
    "costs, doctor, eval_plan, next_step, plan, rented, serve": "they write nothing",
    "prerequisites, pack_results": "of make and of the pod: written anew every time",
    "bench_data, bench_dedup, bench_real, bench_train": "they measure, in a folder of their own",
    "crowd_export, field_counts": "tests/evaluate: what was taken in is not taken in twice",
    "repair": "tests/test_repair.py: stopped at any write",
    "rent": "tests/remote/test_kill.py and test_hf_jobs.py: killed at twenty moments",
    "scale": "tests/scale/test_scale.py",
    "sweep": "tests/train/test_sweep.py; each of its runs is a training",
    "space": "tests/publish/test_space.py; a folder that is built anew from what is there",
    "train": "tests/train/test_checkpoints.py, and slow ones here",
}
