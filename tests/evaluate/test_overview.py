"""The overview of a project: data sets, runs, verdicts and costs on one page, in whatever state they are."""

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from lib.base.costs import Cost
from lib.base.files import write_json
from lib.evaluate.overview import data_sets, page
from lib.evaluate.runs import registry
from scripts.runs import steps_of
from tests.evaluate.test_runs import finished

ROOT = Path(__file__).parents[2]
HOSTILE = "a<img src=x onerror=alert(1)>#?&"


class Links(HTMLParser):
    """The addresses that a page links to, and the tags in it."""

    def __init__(self, text):
        super().__init__()
        self.links, self.tags = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href"]


def with_pages(root, run="v1"):
    """A data set that is split, one that is not, and a run with a report."""
    rows = {f"{split}.jsonl": {"rows": 1234} for split in ("train", "val", "test")}
    write_json(root / "data/main/processed/manifest.json", {"files": rows})
    (root / "data/main/report.html").write_text("")
    (root / "data/raw-only/raw").mkdir(parents=True)
    (root / "data/cache").mkdir()
    finished(root, run)
    (root / "adapters" / run / "eval" / "claude" / "report.html").write_text("")
    (root / "adapters" / run / "field").mkdir()
    (root / "adapters" / run / "field" / "report.html").write_text("")
    (root / "adapters" / "compare-v1-v2.html").write_text("")
    return root


def shown(root, paid=()):
    return page(root, registry(root, steps_of), paid)


def test_every_link_leads_to_a_file_from_both_folders(tmp_path):
    with_pages(tmp_path, HOSTILE.replace("/", ""))
    found = Links(shown(tmp_path))
    assert len(found.links) == 4
    for link in found.links:
        assert not set("#?<> ") & set(link), link
        assert (tmp_path / "data" / unquote(link)).is_file(), link
        assert (tmp_path / "adapters" / unquote(link)).is_file(), link
    assert not {"img", "script"} & set(found.tags)


def test_it_says_what_each_set_lacks_and_what_each_run_reached(tmp_path):
    with_pages(tmp_path)
    text = shown(tmp_path, [Cost("collect", "main", 3, 4.5, 1, 0.75), Cost("train", "v1", 1, 0.4)])
    for words in ("1,234", "not split yet: make data DATA=raw-only", "pass", "+18 points", "+3 to +33"):
        assert words in text
    for words in ("1 not booked yet, up to 0.75", "4.90", "compare-v1-v2"):
        assert words in text
    assert [one.name for one in data_sets(tmp_path)] == ["main", "raw-only"]


def test_the_rows_of_a_set_are_those_of_train_val_and_test(tmp_path):
    rows = {f"{split}.jsonl": {"rows": n} for n, split in enumerate(("test", "train", "val"), 5)}
    write_json(tmp_path / "data/main/processed/manifest.json", {"files": rows})
    assert data_sets(tmp_path)[0].rows == (6, 7, 5)


def test_a_project_without_anything_names_the_first_commands(tmp_path):
    text = shown(tmp_path)
    assert "make quickstart" in text and "make train RUN=tiny" in text
    assert "Nothing has been paid for" in text


@pytest.mark.parametrize("content", ["{", "[]", '{"files": {}}', '{"files": {"train.jsonl": {"rows": "x"}}}'])
def test_a_damaged_manifest_or_ledger_is_a_sentence_beside_the_rest(content, tmp_path):
    with_pages(tmp_path)
    (tmp_path / "data/main/processed/manifest.json").write_text(content)
    text = shown(tmp_path, "data/main/ledger.jsonl:3: not an entry")
    assert "ledger.jsonl:3" in text and "+18 points" in text
    assert "data/main/processed/manifest.json" in str(data_sets(tmp_path)[0].state)


def test_make_runs_prints_the_reports_writes_both_pages_and_opens_one(tmp_path):
    with_pages(tmp_path)
    (tmp_path / "browser").write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    (tmp_path / "browser").chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "BROWSER": f"{tmp_path}/browser %s"}
    command = [sys.executable, "-m", "scripts.runs"]
    for wanted in ("", "1"):
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment | {"OPEN": wanted},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "opened").exists() == bool(wanted)
    assert "    adapters/v1/eval/claude/report.html\n" in done.stdout
    assert done.stdout.endswith("wrote adapters/index.html\n")
    assert (tmp_path / "opened").read_text().strip() == (tmp_path / "adapters/index.html").as_uri()
    pages = {(tmp_path / folder / "index.html").read_text() for folder in ("data", "adapters")}
    assert len(pages) == 1
