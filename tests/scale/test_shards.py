"""Shards: the same key in the same file on every machine, and a task done again leaves nothing behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lib.base.settings import CollectConfig, DataConfig
from lib.scale.shards import Router, Work, line_of

ROOT = Path(__file__).parents[2]
KEYS = ["1886675324152567949", "ann", "", "Ünïcode \u2028", "half \ud83d"]


@pytest.fixture
def work(tmp_path):
    return Work(tmp_path, "big", DataConfig(collect=CollectConfig(source="files")), (), 7)


def test_a_key_has_the_same_shard_in_every_process(work):
    code = (
        "import json, sys; from pathlib import Path; from lib.scale.shards import Work\n"
        "work = Work(Path('.'), 'big', None, (), 7)\n"
        f"print(json.dumps([work.shard_of(key) for key in json.loads({json.dumps(json.dumps(KEYS))})]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [work.shard_of(key) for key in KEYS]
    assert {work.shard_of(str(n)) for n in range(200)} == set(range(7))


def test_what_belongs_together_comes_together_whichever_task_wrote_it(work, monkeypatch):
    monkeypatch.setattr("lib.scale.shards.BUFFER_BYTES", 40)  # written in between, too
    for task in (0, 1):
        with Router(work, "rows", task) as out:
            for n in range(20):
                out.add(str(n), {"task": task, "n": n})
    for shard in range(7):
        rows = list(work.rows("rows", shard))
        assert {work.shard_of(str(row["n"])) for row in rows} <= {shard}
        assert sorted((row["task"], row["n"]) for row in rows) == [
            (task, n) for task in (0, 1) for n in range(20) if work.shard_of(str(n)) == shard
        ]


def test_a_task_that_is_done_again_leaves_nothing_of_its_first_attempt(work):
    for n in (1, 2):
        with Router(work, "rows", 0) as out:
            out.add("key", {"attempt": n})
    assert list(work.rows("rows", work.shard_of("key"))) == [{"attempt": 2}]


def test_half_of_a_surrogate_pair_goes_through_a_shard(work):
    row = {"text": "half \ud83d", "more": "ü\u2028"}
    assert json.loads(line_of(row)) == row
    assert line_of(row).count(b"\n") == 1
