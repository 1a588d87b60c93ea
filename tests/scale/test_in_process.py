"""The stages over shards without datatrove: the same records as in one process, whatever the shards are."""

import json
import os
import random
import shutil
import struct
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

import lib.scale.build
import lib.scale.steps
import scripts.clean
import scripts.filter
import scripts.pair
import scripts.split
from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.files import read_dicts, write_jsonl
from lib.base.schema import Pair
from lib.base.seals import checked
from lib.base.settings import DataConfig
from lib.data.forget import Forgotten
from lib.data.sources import RawFile
from lib.scale import executors, gather
from lib.scale.build import build
from lib.scale.executors import Engine, run_stage
from lib.scale.gather import _distinct_prompts, funnel
from lib.scale.near import drop_near_replies, find_leaks
from lib.scale.reading import of_files, refuse_namesakes, refuse_unknown_files, scatter
from lib.scale.samples import write_set
from lib.scale.shards import Router, Work, records_in
from lib.scale.steps import Stage
from tests.data.test_review import pair
from tests.scale.test_scale import FILES, OWN_PAIR

# --- begun, gone on with, or begun anew --------------------------------------------------------------


@pytest.fixture
def work(tmp_path):
    (tmp_path / "raw").mkdir()
    write_set(tmp_path, 20)
    config = load_config(tmp_path / "configs/data-bench.yaml", DataConfig)
    files = tuple(lib.scale.build.raw_files(tmp_path / "data/bench/raw", []))
    return Work(tmp_path, "bench", config, files, 3)


def test_work_is_begun_anew_when_anything_that_it_is_made_from_has_changed(work, monkeypatch):
    decided, forgotten = work.data / "review/decisions.jsonl", work.root / "data/forgotten.json"
    code = work.root / "lib/scale/near.py"
    raw = work.files[0].path
    for path in (decided, forgotten, code):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a")
    other = work.config.model_copy(
        update={"clean": work.config.clean.model_copy(update={"similarity_threshold": 0.5})}
    )
    later = replace(work.files[0], collected_at=work.files[0].collected_at.replace(year=2020))
    changes = [
        *(partial(path.write_text, "b") for path in (decided, forgotten, code)),
        lambda: os.utime(raw, (1, 1)),
        lambda: raw.write_text(raw.read_text() + "\n"),
    ]
    mark = work.folder / "mark"

    def is_kept(now):
        lib.scale.build._begin(now)
        kept = mark.exists()
        mark.touch()
        return kept

    assert [is_kept(work), is_kept(work)] == [False, True]
    for change in changes:
        change()
        assert [is_kept(work), is_kept(work)] == [False, True]
    for now in (replace(work, config=other), replace(work, n_shards=4), replace(work, files=(later,))):
        is_kept(work)
        assert [is_kept(work), is_kept(now), is_kept(now)] == [True, False, True]


@pytest.mark.parametrize("n_bytes, n_shards", [(1, 1), (100, 1), (101, 2), (200, 2), (201, 3)])
def test_raw_items_are_spread_over_shards_of_a_size_rounded_up(tmp_path, monkeypatch, n_bytes, n_shards):
    raw = tmp_path / "data/bench/raw"
    raw.mkdir(parents=True)
    (raw / "items.jsonl").write_bytes(b" " * n_bytes)
    seen = []
    monkeypatch.setattr(lib.scale.build, "SHARD_BYTES", 100)
    monkeypatch.setattr(lib.scale.build, "_begin", lambda work: seen.append(work) or 1 / 0)
    config = DataConfig.model_validate({"collect": {"source": "files"}, "review": "optional"})
    with pytest.raises(ZeroDivisionError):
        build(tmp_path, "bench", config, Engine(), print)
    assert seen[0].n_shards == n_shards
    for odd, said in (({"review": "required"}, "`review: optional`"), ({}, "holds nothing to read")):
        (raw / "items.jsonl").unlink(missing_ok=True)
        with pytest.raises(UserError, match=said):
            build(tmp_path, "bench", config.model_copy(update=odd), Engine(), print)


def test_one_builds_a_set_at_a_time(tmp_path, monkeypatch):
    raw = tmp_path / "data/bench/raw"
    raw.mkdir(parents=True)
    (raw / "items.jsonl").write_text("{}\n")
    held = []

    class Held:
        def __init__(self, path):
            held.append(path)

        def __enter__(self):
            raise UserError("another process builds this set")

        def __exit__(self, *_): ...

    monkeypatch.setattr(lib.scale.build, "lock", Held)
    config = DataConfig.model_validate({"collect": {"source": "files"}, "review": "optional"})
    with pytest.raises(UserError, match="another process"):
        build(tmp_path, "bench", config, Engine(), print)
    assert held == [tmp_path / "data/bench/build.lock"] and not (tmp_path / "data/bench/interim").exists()


# --- a stage -----------------------------------------------------------------------------------------


class Executor:
    """datatrove's, as far as it is asked. left: the ranks that are not complete, before and after a run."""

    def __init__(self, *left):
        self.left, self.n_runs = list(left), 0

    def get_incomplete_ranks(self):
        return self.left[0]

    def run(self):
        self.n_runs += 1
        self.left.pop(0)


@pytest.mark.parametrize(
    "left, n_runs, said",
    [(([],), 0, None), (([0, 2], []), 1, None), (([0, 2], [2]), 1, "1 of 3 tasks failed")],
)
def test_a_stage_does_what_is_left_and_a_task_that_failed_ends_it(work, monkeypatch, left, n_runs, said):
    executor, lines = Executor(*left), []
    monkeypatch.setattr(executors, "_executor", lambda *of: executor)
    run = partial(run_stage, Stage("pairs", 3, []), work, Engine(), lines.append)
    if said:
        with pytest.raises(UserError, match=f"pairs: {said}.*Run the same command again"):
            run()
    else:
        run()
    assert executor.n_runs == n_runs and lines == [f"pairs: {len(left[0])} of 3 tasks to do"]


def test_what_sbatch_said_is_where_its_logs_are(work, monkeypatch):
    class Failing(Executor):
        def run(self):
            raise executors.subprocess.CalledProcessError(9, "sbatch")

    monkeypatch.setattr(executors, "_executor", lambda *of: Failing([0]))
    with pytest.raises(UserError, match=r"sbatch ended with 9; see .*logs/pairs"):
        run_stage(Stage("pairs", 1, []), work, Engine("slurm"), print)


# --- gathered ----------------------------------------------------------------------------------------


def counted(work, **stages):
    for stage, shares in stages.items():
        for task, (n_kept, n_rejected) in enumerate(shares):
            rejected = [SimpleNamespace(reason=f"reason{n}") for n in range(n_rejected)]
            work.count(stage, task, n_kept, rejected)


def test_a_pair_that_was_lost_between_two_stages_is_found_out_and_all_is_done_again(work):
    whole = {"pair": [(5, 1), (4, 0)], "filter": [(6, 3)], "clean": [(0, 2), (4, 0)], "split": [(3, 1)]}
    counted(work, **whole)
    counts = funnel(work)
    assert counts["clean"] == {
        "in": 6, "kept": 4, "rejected": 2, "reasons": {"reason0": 1, "reason1": 1}
    }  # fmt: skip
    assert counts["pair"]["kept"] == counts["filter"]["in"] == 9
    for stage in ("filter", "clean", "split"):
        for share in (
            (whole[stage][0][0], whole[stage][0][1] - 1),
            (whole[stage][0][0], whole[stage][0][1] + 1),
        ):
            counted(work, **{**whole, stage: [share, *whole[stage][1:]]})
            with pytest.raises(UserError, match=rf"{stage} read .* Run the same command again"):
                funnel(work)
            assert not work.folder.exists()


def test_a_text_is_asked_about_once_unless_people_answered_it(work):
    prompts = [
        {"tweet": "One text", "human_reply": "yes"},
        {"tweet": "one TEXT!", "human_reply": "no"},
        {"tweet": "One text"},
        {"tweet": "Another"},
        {"tweet": "another."},
        {"tweet": "Third"},
    ]
    for task in range(2):
        work.write("out/test_prompts", task, prompts[task::2])
    found = [json.loads(line) for line in _distinct_prompts(work)]
    assert sorted(row.get("human_reply", "") for row in found) == ["", "", "no", "yes"]
    assert {row["tweet"].casefold().strip(".") for row in found[2:]} == {"another", "third"}


def test_a_folder_is_not_whole_while_its_files_are_replaced_and_each_is_on_the_disk(work, monkeypatch):
    counted(work, pair=[(1, 0)], filter=[(1, 0)], clean=[(1, 0)], split=[(1, 0)])
    for kind in (*gather.INTERIM, *gather.PROCESSED):
        work.write(f"out/{kind}", 0, [{"n": kind}] if kind != "test_prompts" else [{"tweet": "one"}])
    for shard in range(3):
        work.write("missing", shard, [{"tweet_id": str(9 - shard)}] * 2)
    manifest = work.data / "processed/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    steps, real, renamed = [], os.fsync, Path.replace
    monkeypatch.setattr(gather.os, "fsync", lambda handle: (steps.append("sync"), real(handle)))
    monkeypatch.setattr(
        Path, "replace", lambda one, to: (steps.append((to.name, manifest.exists())), renamed(one, to))[1]
    )
    gather.gather(work, funnel(work))
    for kind in gather.PROCESSED:
        at = steps.index((f"{kind}.jsonl", False))
        assert steps[at - 1] == "sync"
    assert steps.count("sync") >= len(gather.INTERIM) + len(gather.PROCESSED)
    assert checked(work.data / "processed/train.jsonl").read_text() == '{"n": "train"}\n'
    written = json.loads(manifest.read_text())
    assert (written["n_train"], written["n_preference_candidates"]) == (1, 1)
    named = (work.data / "interim/missing_tweets.txt").read_text().split()
    assert named == [f"https://x.com/i/status/{n}" for n in (7, 8, 9)]


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_part_that_would_be_empty_is_refused_by_its_name(work, part):
    counted(work, pair=[(4, 0)], filter=[(4, 0)], clean=[(4, 0)], split=[(3, 1)])
    for kind in (*gather.INTERIM, *gather.PROCESSED):
        work.write(f"out/{kind}", 0, [] if kind == part else [{"tweet": "one"}])
    for shard in range(3):
        work.write("missing", shard, [])
    with pytest.raises(UserError, match=rf"split: {part} would be empty: 4 pairs .* reason0 took 1"):
        gather.gather(work, funnel(work))
    assert not (work.data / "processed").exists()


# --- leaks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, sides, leak",
    [
        ("tweet", ("test", "val", "train"), {"val", "train"}),
        ("tweet", ("train", "val"), {"train"}),
        ("tweet", ("val", "test"), {"val"}),
        ("tweet", ("train", "train"), set()),
        ("reply", ("test", "val", "train"), {"val", "train"}),
        ("reply", ("train", "val"), set()),
    ],
)
def test_what_is_learned_from_gives_way_to_what_is_measured_with(work, kind, sides, leak):
    text = "A garden in the north wants more light than it gets"
    with Router(work, "near-sides", 0) as out:
        for number, side in enumerate(sides):
            row = {
                "kind": kind,
                "side": side,
                "tweet_id": str(number),
                "id": side,
                "text": f"{text} {number}",
            }
            out.add("cluster", row)
        other = "reply" if kind == "tweet" else "tweet"
        out.add("cluster", {"kind": other, "side": "train", "tweet_id": "9", "id": "other", "text": text})
    find_leaks(work, work.shard_of("cluster"))
    leaks = {row["id"] for shard in range(3) for row in work.rows("leaks", shard)}
    assert leaks == leak


def test_no_pair_is_lost_between_the_pieces_that_are_compared_at_once(work, monkeypatch):
    monkeypatch.setattr("lib.scale.near.PIECE", 2)
    pairs = [pair(n) for n in range(5)]
    with Router(work, "near-replies", 0) as out:
        for one in pairs:
            out.add("cluster", one)
    drop_near_replies(work, shard := work.shard_of("cluster"))
    kept = [one.id for place in range(3) for one in work.records("far-replies", place, Pair)]
    rejected = [row["id"] for row in work.own("out/clean.rejected", 2 * 3 + shard)]
    assert sorted([*kept, *rejected]) == [one.id for one in pairs]


# --- rows and lines ----------------------------------------------------------------------------------


def test_files_of_one_name_are_refused_and_the_name_is_told():
    files = [SimpleNamespace(path=Path(name)) for name in ("raw/a.jsonl", "raw/b.jsonl", "mine/b.jsonl")]
    refuse_namesakes(tuple(files[:2]))
    with pytest.raises(UserError, match=r"two files are named b\.jsonl"):
        refuse_namesakes(tuple(files))


def test_a_shard_is_read_in_the_order_of_tasks_and_a_bad_line_is_named(work):
    for task in (1, 0):
        with Router(work, "rows", task) as out:
            out.add("key", {"task": task})
    shard = work.shard_of("key")
    assert [row["task"] for row in work.rows("rows", shard)] == [0, 1]
    work.write("bad", 0, [pair(1), {"odd": 1}])
    with pytest.raises(UserError, match=r"00000\.jsonl:2"):
        list(records_in(work.folder / "bad/00000.jsonl", Pair))


def test_one_row_of_a_known_shape_makes_a_file_known_and_its_own_columns_are_named(work, tmp_path):
    path = tmp_path / "own.csv"
    header = list(OWN_PAIR)
    path.write_text(
        ",".join([*header, "mood"]) + "\n" + ",".join([*map(str, OWN_PAIR.values()), "good"]) + "\n"
    )
    odd = tmp_path / "odd.jsonl"
    odd.write_text('{"colour": "red"}\n' + json.dumps(OWN_PAIR) + "\n")
    unknown = tmp_path / "unknown.jsonl"
    unknown.write_text('{"colour": "red"}\n')
    files = tuple(RawFile(one, work.files[0].collected_at) for one in (path, odd, unknown))
    now = replace(work, files=files)
    for task in range(2):
        scatter(now, task)
    refuse_unknown_files(now)
    assert of_files(now).ignored_fields == {"own.csv": ["mood"]}
    assert of_files(now).rounded == {}
    scatter(now, 2)
    with pytest.raises(UserError, match=r"raw/unknown\.jsonl: "):
        refuse_unknown_files(now)


# --- all stages -----------------------------------------------------------------------------------------

CONFIG = """collect: {source: files, min_pairs: 50, target_pairs: 80, max_pairs: 95}
filter:
  {toxicity_model: none, reply_likes: [3, 1000], promotion: reject, filler: reject,
   max_replies_per_author: 4, max_replies_per_tweet: 12}
clean: {embedding_model: char-ngrams, similarity_threshold: 0.8}
split: {val: 0.2, test: 0.3}
preferences: {like_ratio: 1.5, max_follower_ratio: 100}
review: optional
"""
APART = "Zwölf Boxkämpfer jagen quer"  # no other text is near to one with this


def one_set(folder):
    """Raw items in which every rule about a whole set has something to do."""
    write_set(folder, 400)
    (folder / "configs/data-bench.yaml").write_text(CONFIG)
    raw = folder / "data/bench/raw"
    posts, draw = [json.loads(line) for line in (raw / "items-0000.jsonl").open()], random.Random(3)
    replies = [post for post in posts if "inReplyToId" in post]
    tweets = [post for post in posts if "inReplyToId" not in post]
    for number, post in enumerate(replies[::9]):
        post["author"]["userName"] = "Busy" if number % 2 else "@busy"
    for number, post in enumerate(replies[1::40]):
        post["author"]["userName"] = "Botty" if number % 2 else "@botty"
        post["fullText"] = f"Your profile deserves a lot more readers than it has today, number {number}"
    for number, post in enumerate(replies[2::50]):
        post["fullText"] = f"Order now {number}, {post['fullText']}"
    for post in replies[3::60]:
        post["inReplyToId"] = post["conversationId"] = "17"
    for number, post in enumerate(replies[4::13]):
        night = "NIGHT" if number % 2 else "night"
        post["fullText"] = f"{night} trains are for people who like to wait{'!' * (number // 4)}"
    for number, post in enumerate(replies[5::40]):
        post["fullText"] = f"You would need {number} {'winters' if number % 2 else 'summers'} for all of that"
    for number, post in enumerate(tweets[::2]):
        post["fullText"] = f"A garden in the north wants more light than it gets, part {number // 2}"
    for post in replies[6::25]:
        post["fullText"] = f"{APART} {draw.randrange(10**9)} {draw.randrange(10**9)} over the line"
    for post in replies[7::45]:
        post["fullText"] = "Well said. #spring #gardens"  # too short without the words for a search
    for post in replies[8::30]:
        post["author"]["userName"] = "goneperson"
    lost = Forgotten("salt", [])
    lost.add("goneperson")
    lost.save(folder / "data/forgotten.json")
    more = [{"colour": "red"}, {**replies[9], "id": "12", "nonsense": 1}]
    rounded = [{**post, "id": f"{post['id'][:-4]}0000", "note": "mine"} for post in replies[9::60]]
    parts = {"items-0000": [*posts[::2], *more], "items-0001": posts[1::2], "rounded": rounded}
    for name, rows in parts.items():
        (raw / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (raw / "items-0001.meta.json").write_text(
        '{"query": "one search", "collected_at": "2026-03-20T12:00:00Z"}'
    )
    (raw / "notes.xlsx").touch()
    for number, path in enumerate(raw.glob("*.jsonl")):
        os.utime(path, (1_772_000_000 + number, 1_772_000_000 + number))


def near_by_force(work, kind):
    """MinHash's answer for a small set: everything may be near to everything, but for texts on their own."""
    for task in range(work.n_shards):
        rows = list(work.own(kind, task))
        near = [n for n, row in enumerate(rows) if APART not in json.dumps(row, ensure_ascii=False)]
        path = work.folder / f"{kind}-clusters" / f"{task:06d}.clusters"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"".join(struct.pack("<2I", n, 9) for n in near))


def here(stage, work, engine, say):
    """A stage in this process: datatrove's own steps left out."""
    say(stage.name)
    if stage.name.endswith("-clusters"):
        near_by_force(work, stage.name.removesuffix("-clusters"))
    for rank in range(stage.tasks):
        if function := stage.pipeline[0].function:
            function(work, rank)


@pytest.fixture
def in_shards(monkeypatch):
    """() -> what build() returns for the set `bench`, in small shards."""
    monkeypatch.setattr(lib.scale.build, "SHARD_BYTES", 40_000)
    monkeypatch.setattr(lib.scale.build, "run_stage", here)
    monkeypatch.setattr(lib.scale.steps, "minhash", lambda *of: ([], [], []))
    monkeypatch.setattr("lib.scale.pairing.BATCH", 7)
    return lambda say=lambda line: None: build(
        Path.cwd(), "bench", load_config(Path("configs/data-bench.yaml"), DataConfig), Engine(), say
    )


def in_one_process(monkeypatch, *steps):
    for script in steps:
        monkeypatch.setattr(sys, "argv", [script.__name__, "--config", "configs/data-bench.yaml"])
        script.main()


def decisions(clean):
    """People drop some pairs and edit one."""
    rows = [{"id": row["reply_id"], "decision": "drop"} for row in clean[::17]]
    return [
        *rows,
        {"id": clean[1]["reply_id"], "decision": "edit", "reply": "Edited by a person, with care."},
    ]


def test_shards_hold_the_records_of_one_process(tmp_path, monkeypatch, in_shards):
    monkeypatch.chdir(tmp_path)
    one_set(tmp_path)
    data = tmp_path / "data/bench"
    in_one_process(monkeypatch, scripts.pair, scripts.filter, scripts.clean)
    write_jsonl(data / "review/decisions.jsonl", decisions(read_dicts(data / "interim/clean.jsonl")))
    in_one_process(monkeypatch, scripts.split)
    one = {file: read_dicts(data / file) for file in FILES}
    manifest = json.loads((data / "processed/manifest.json").read_text())
    addresses = (data / "interim/missing_tweets.txt").read_text()
    for folder in ("interim", "processed"):
        shutil.rmtree(data / folder)

    counts, missing, notes = in_shards()

    for file in FILES:
        ours, theirs = (
            sorted(json.dumps(row, sort_keys=True) for row in rows)
            for rows in (read_dicts(checked(data / file)), one[file])
        )
        assert ours == theirs and ours, file
    of_shards = json.loads((data / "processed/manifest.json").read_text())
    sizes = [name for name in manifest if name.startswith("n_")]
    for name in ("set", "counts", "config", "missing", "embedding_model", "toxicity_model", *sizes):
        assert of_shards[name] == manifest[name], name
    assert counts == manifest["counts"] and missing == manifest["missing"]
    assert addresses == (data / "interim/missing_tweets.txt").read_text() == "https://x.com/i/status/17\n"
    said = " ".join(notes)
    for words in ("notes.xlsx is not read", "no row of rounded.jsonl is used", "replies answer 1 tweets"):
        assert words in said
    assert not (data / "interim/scale").exists()
    reasons = {row.get("reason") for rows in one.values() for row in rows}
    assert {
        "bot_like", "replies_per_author", "promotion", "exact_duplicate", "normalised_duplicate",
        "near_duplicate", "max_pairs", "bad_id", "near_duplicate_across_splits", "unknown_shape",
        "review_drop", "reply_too_short",
    } <= reasons, reasons  # fmt: skip
