"""pair, filter, clean and split as programs, on a folder laid out like the repository."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lib.base.files import read_dicts, read_jsonl, write_jsonl
from lib.base.schema import Pair, Preference, Rejection, TestPrompt, Tweet
from tests.items import all_stages, reply_item, stage, tweet_item, write_items

ROOT = Path(__file__).parents[2]
STAGES = ("pair", "filter", "clean", "split")
CONFIG = """
collect: {source: files, target_pairs: 20, min_pairs: 10, max_pairs: 100}
filter: {toxicity_model: none}
clean: {embedding_model: char-ngrams}
review: optional
split: {val: 0.2, test: 0.3, min_test_prompts: 500, seed: 17}
"""
WORDS = [
    *("bread", "rain", "piano", "garden", "winter", "engine", "window", "letter"),
    *("sister", "market", "bicycle", "river", "candle", "mirror", "planet", "ticket"),
]


def sentence(number):
    pick = random.Random(number)
    first, second, third, fourth = (pick.choice(WORDS) for _ in range(4))
    return f"My {first} and the old {second} by the {third} were there before {fourth} number {number}."


def items(n_tweets=40):
    made = []
    for number in range(n_tweets):
        tweet = str(10**18 + number * 1000)
        made.append(
            tweet_item(
                id=tweet,
                conversationId=tweet,
                text=sentence(number),
                author={"userName": f"author{number}", "followers": 1},
            )
        )
        if number % 8 == 0:
            continue  # a tweet that nobody answered is a test prompt too
        for reply in range(3):
            made.append(
                reply_item(
                    id=str(int(tweet) + 1 + reply),
                    inReplyToId=tweet,
                    conversationId=tweet,
                    text=f"@author{number} {sentence(10_000 + number * 3 + reply)}",
                    likeCount=[40, 6, 3][reply],  # the third lacks likes and nothing else
                    createdAt=f"Tue Feb 04 {10 - reply:02}:00:00 +0000 2025",
                    author={"userName": f"fan{number}_{reply}", "followers": 700 + reply},
                )
            )
    return made


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    (folder / "configs").mkdir()
    (folder / "configs/data-x.yaml").write_text(CONFIG)
    write_items(folder / "data/x/raw", [*items(), {"noResults": True}])
    os.utime(folder / "data/x/raw/items.jsonl", (1767225600, 1767225600))
    with (folder / "data/x/raw/items.jsonl").open("ab") as handle:
        handle.write(b'{"text": "caf\xe9"}\n{"id": "torn')
    os.utime(folder / "data/x/raw/items.jsonl", (1767225600, 1767225600))
    return folder, all_stages(folder)


def files_of(folder):
    made = sorted((folder / "data/x").rglob("*.jsonl"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in made if "raw" not in path.parts}


def test_the_stages_write_the_files_of_the_design(done):
    folder, _ = done
    data = folder / "data/x"
    kept = dict.fromkeys(("pairs", "filtered", "candidates", "clean"), Pair)
    for name, record in {**kept, "tweets": Tweet}.items():
        assert read_jsonl(data / f"interim/{name}.jsonl", record), name
    for name in ("pairs", "filtered", "clean", "split"):
        read_jsonl(data / f"interim/{name}.rejected.jsonl", Rejection)
    for name, record in {
        "train": Pair,
        "val": Pair,
        "test": Pair,
        "test_prompts": TestPrompt,
        "preferences": Preference,
        "calibration": Preference,
    }.items():
        assert read_jsonl(data / f"processed/{name}.jsonl", record), name


def test_a_set_of_an_earlier_version_is_split_as_it_was(done, tmp_path):
    """Without seals, and with its preference candidates inside the rejections."""
    shutil.copytree(done[0], tmp_path, dirs_exist_ok=True)
    before = files_of(tmp_path)
    interim = tmp_path / "data/x/interim"
    candidates = {pair.id: pair for pair in read_jsonl(interim / "candidates.jsonl", Pair)}
    rejected = [
        Rejection.of(candidates[one.id], one.stage, one.reason, one.detail) if one.id in candidates else one
        for one in read_jsonl(interim / "filtered.rejected.jsonl", Rejection)
    ]
    assert candidates
    for name in ("manifest.json", "candidates.jsonl"):
        (interim / name).unlink()
    write_jsonl(interim / "filtered.rejected.jsonl", rejected)
    split = stage(tmp_path, "split")
    assert split.returncode == 0, split.stderr
    after = files_of(tmp_path)
    assert {name: after[name] for name in before if "processed" in name} == {
        name: content for name, content in before.items() if "processed" in name
    }


def test_every_stage_accounts_for_every_record(done):
    folder, _ = done
    manifest = json.loads((folder / "data/x/processed/manifest.json").read_text())
    counts = manifest["counts"]
    assert list(counts) == list(STAGES)
    for one in counts.values():
        assert one["in"] == one["kept"] + one["rejected"] == one["kept"] + sum(one["reasons"].values())
    assert [counts[name]["in"] for name in STAGES[1:]] == [counts[name]["kept"] for name in STAGES[:-1]]
    assert counts["pair"]["reasons"] == {"not_utf8": 1, "provider_filler": 1, "torn_line": 1}
    assert counts["filter"]["reasons"] == {"reply_likes": 35}
    assert sum(manifest[f"n_{name}"] for name in ("train", "val", "test")) == counts["split"]["kept"]
    for name, entry in manifest["files"].items():
        assert (
            len(read_dicts(folder / "data/x/processed" / name))
            == entry["rows"]
            == manifest[f"n_{name.removesuffix('.jsonl')}"]
        )
    assert (manifest["set"], manifest["embedding_model"], manifest["toxicity_model"]) == (
        "x",
        "char-ngrams",
        "none",
    )
    assert manifest["config"]["split"]["seed"] == 17


def test_the_rejected_say_where_they_came_from(done):
    folder, _ = done
    rejected = read_jsonl(folder / "data/x/interim/pairs.rejected.jsonl", Rejection)
    assert {rejection.reason: rejection.id for rejection in rejected} == {
        "provider_filler": "items.jsonl:146",
        "not_utf8": "items.jsonl:147",
        "torn_line": "items.jsonl:148",
    }


def test_the_console_says_what_was_counted_and_what_was_not_checked(done):
    _, (pair, filtered, clean, split) = done
    assert pair.stdout.startswith("pair: kept 105 of 108 replies and unusable rows")
    assert "toxicity: not checked (toxicity_model: none)" in filtered.stdout
    assert (
        "34 of the rejected lack nothing but engagement" in filtered.stdout
    )  # langdetect takes one for another language
    assert "char-ngrams (offline stand-in" in clean.stdout
    assert "test prompts, 500 wanted" in split.stdout
    assert "wrote data/x/processed/manifest.json" in split.stdout


def test_no_author_and_no_tweet_is_in_two_sets(done):
    folder, _ = done
    parts = {
        name: read_jsonl(folder / f"data/x/processed/{name}.jsonl", Pair) for name in ("train", "val", "test")
    }
    for field in ("tweet_author", "tweet_id", "reply"):
        values = [{getattr(pair, field) for pair in part} for part in parts.values()]
        assert len(set().union(*values)) == sum(map(len, values)), field
    prompts = read_jsonl(folder / "data/x/processed/test_prompts.jsonl", TestPrompt)
    assert not {prompt.tweet_author for prompt in prompts} & {
        pair.tweet_author for name in ("train", "val") for pair in parts[name]
    }
    assert {pair.tweet_id for pair in parts["test"]} <= {prompt.tweet_id for prompt in prompts}
    assert any(prompt.human_reply is None for prompt in prompts)
    calibration = read_jsonl(folder / "data/x/processed/calibration.jsonl", Preference)
    assert {one.tweet_author for one in calibration} <= {prompt.tweet_author for prompt in prompts}


def test_texts_are_clean(done):
    folder, _ = done
    for pair in read_jsonl(folder / "data/x/interim/clean.jsonl", Pair):
        assert not pair.reply.startswith("@")
        assert pair.validation.valid
        assert pair.validation.language == "en"


def test_equal_input_gives_equal_bytes_whatever_its_order(done, tmp_path):
    folder, _ = done
    shutil.copytree(folder / "configs", tmp_path / "configs")
    lines = (folder / "data/x/raw/items.jsonl").read_bytes().split(b"\n")
    (tmp_path / "data/x/raw").mkdir(parents=True)
    shutil.copy2(folder / "data/x/raw/items.jsonl", tmp_path / "data/x/raw/items.jsonl")
    all_stages(tmp_path)
    assert files_of(tmp_path) == files_of(folder)
    (tmp_path / "data/x/raw/items.jsonl").write_bytes(b"\n".join([*lines[:145][::-1], *lines[145:]]))
    os.utime(tmp_path / "data/x/raw/items.jsonl", (1767225600, 1767225600))
    all_stages(tmp_path)
    for name in ("train", "val", "test", "test_prompts", "preferences", "calibration"):
        rows, again = (read_dicts(base / f"data/x/processed/{name}.jsonl") for base in (folder, tmp_path))
        assert [{**row, "source": ""} for row in again] == [{**row, "source": ""} for row in rows], name


@pytest.fixture
def fresh(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/data-x.yaml").write_text(CONFIG)
    return tmp_path


def refused(folder, name):
    done = stage(folder, name)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_required_review_stops_the_split_and_decisions_open_it(done, fresh):
    folder, _ = done
    shutil.copytree(folder / "data/x/interim", fresh / "data/x/interim")
    (fresh / "configs/data-x.yaml").write_text(CONFIG.replace("optional", "required"))
    n_pairs = len(read_dicts(fresh / "data/x/interim/clean.jsonl"))
    waiting = stage(fresh, "split")
    assert waiting.returncode == 0, waiting.stderr
    assert f"{n_pairs} of {n_pairs} pairs are unreviewed. Run `make review DATA=x`" in waiting.stdout
    assert not (fresh / "data/x/processed").exists()
    ids = [row["reply_id"] for row in read_dicts(fresh / "data/x/interim/clean.jsonl")]
    decisions = [
        {"id": name, "decision": "drop" if number == 0 else "keep", "at": "2026-01-01T00:00:00Z"}
        for number, name in enumerate(ids)
    ]
    write_items(fresh / "data/x/review", decisions, "decisions.jsonl")
    assert stage(fresh, "split").returncode == 0
    (rejection,) = read_jsonl(fresh / "data/x/interim/split.rejected.jsonl", Rejection)
    assert (rejection.id, rejection.reason) == (ids[0], "review_drop")


def test_a_program_ends_with_one_sentence_and_code_1(fresh):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "scripts.pair", "--config", "configs/data-x.yaml"]
    done = subprocess.run(command, cwd=fresh, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("error: data/x/raw holds no *.jsonl")


def test_nothing_to_use_is_a_sentence(fresh):
    assert "data/x/raw holds no *.jsonl, *.json or *.csv file" in refused(fresh, "pair")
    write_items(fresh / "data/x/raw", [{"noResults": True}] * 3)
    assert "all 3 rows of raw/ are the provider's filler" in refused(fresh, "pair")
    write_items(fresh / "data/x/raw", ["x", None])
    assert "nothing usable in raw/" in refused(fresh, "pair")
    assert len(read_dicts(fresh / "data/x/interim/pairs.rejected.jsonl")) == 2
    assert "data/x/interim/pairs.jsonl does not exist" in refused(fresh, "filter")
    write_items(fresh / "data/x/raw", [tweet_item(), reply_item(likeCount=0)])
    assert stage(fresh, "pair").returncode == 0
    assert "no pair passes the filter" in refused(fresh, "filter")


def test_too_few_authors_for_three_sets_is_a_sentence(fresh):
    write_items(fresh / "data/x/raw", items(3))
    for name in STAGES[:-1]:
        assert stage(fresh, name).returncode == 0
    assert "would be empty" in refused(fresh, "split")


def test_a_malformed_line_in_the_pipelines_own_file_is_named(done, fresh):
    folder, _ = done
    shutil.copytree(folder / "data/x/interim", fresh / "data/x/interim")
    with (fresh / "data/x/interim/pairs.jsonl").open("a") as handle:
        handle.write('{"reply_id": 1}\n')
    assert "data/x/interim/pairs.jsonl holds 106 lines, and 105 were written" in refused(fresh, "filter")
    (
        fresh / "data/x/interim/manifest.json"
    ).unlink()  # as an earlier version left it: nothing is known of the file
    assert "data/x/interim/pairs.jsonl:106: " in refused(fresh, "filter")


def test_the_bundled_sample_leaves_enough_to_train_and_to_test(tmp_path):
    (tmp_path / "configs").mkdir()
    shutil.copy2(ROOT / "configs/data-sample.yaml", tmp_path / "configs/data-x.yaml")
    shutil.copytree(ROOT / "data/sample/raw", tmp_path / "data/x/raw")
    all_stages(tmp_path)
    manifest = json.loads((tmp_path / "data/x/processed/manifest.json").read_text())
    assert manifest["n_train"] >= 150
    assert manifest["n_test_prompts"] >= 40
    dropped = {reason for one in manifest["counts"].values() for reason in one["reasons"]}
    assert {
        "provider_filler",
        "retweet",
        "self_reply",
        "url",
        "media",
        "control_tokens",
        "copy_of_tweet",
        "near_duplicate",
    } <= dropped
