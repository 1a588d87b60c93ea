"""The next command, by what a project holds."""

from pathlib import Path

import pytest

from lib.base.files import write_json, write_jsonl
from lib.base.seals import write_sealed
from lib.evaluate.standing import next_line
from tests.eval_data import pair

CONFIG = Path("configs/train-r.yaml")
REPORT = Path("adapters/r/eval/e/report.json")


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    CONFIG.write_text("{data: x, eval: e, model: tiny}")
    Path("configs/data-x.yaml").write_text("{collect: {source: files}, review: required}")


def ready():
    for name in ("train", "val"):
        write_jsonl(Path(f"data/x/processed/{name}.jsonl"), [pair(1)])


def trained():
    write_json(Path("adapters/r/manifest.json"), {"config": {"data": "x"}})


def judged(verdict):
    trained()
    write_json(REPORT, {"gate": {"verdict": verdict}})


def test_step_by_step_from_nothing_to_a_published_run():
    assert next_line(CONFIG) == "next: make quickstart"
    assert next_line(CONFIG, done="plan") == "next: make data DATA=x"
    write_jsonl(Path("data/x/interim/clean.jsonl"), [pair(1)])
    assert next_line(CONFIG) == "next: make review DATA=x"
    Path("data/x/interim/clean.jsonl").unlink()
    assert next_line(CONFIG) == "next: make data DATA=x"
    ready()
    assert next_line(CONFIG) == "next: make plan RUN=r"
    assert next_line(CONFIG, done="plan") == "next: make train RUN=r"
    trained()
    assert next_line(CONFIG) == "next: make eval RUN=r"
    judged("pass")
    assert next_line(CONFIG) == "next: make publish RUN=r REPO=<you>/<name>"
    Path("adapters/r/publish.json").touch()
    assert next_line(CONFIG) == "next: make demo RUN=r"


def test_a_verdict_that_is_no_pass_publishes_nothing_and_the_demo_does_not_name_itself():
    judged("underpowered")
    assert next_line(CONFIG) == "next: make demo RUN=r"
    assert next_line(CONFIG, done="demo") == "next: make human-eval RUN=r"


def test_a_win_that_is_unproven_asks_for_people():
    judged("unproven")
    assert next_line(CONFIG) == "next: make human-eval RUN=r"


def test_names_that_the_command_line_gave_are_kept_and_those_of_the_config_are_not_repeated():
    judged("pass")
    assert next_line(CONFIG, evaluation="other") == "next: make eval RUN=r EVAL=other"
    assert next_line(CONFIG, "x", "other") == "next: make eval RUN=r EVAL=other"
    assert next_line(CONFIG, "y", "other") == "next: make eval RUN=r DATA=y EVAL=other"
    assert next_line(CONFIG, "x", "e") == "next: make publish RUN=r REPO=<you>/<name>"


def test_a_damaged_data_set_leads_to_the_command_that_says_how_it_is_mended():
    clean = Path("data/x/interim/clean.jsonl")
    write_sealed(clean, [pair(1), pair(2)])
    clean.write_text("")
    assert next_line(CONFIG) == "next: make data DATA=x"


def test_a_finished_run_needs_no_data_and_a_damaged_report_is_written_again():
    judged("pass")
    REPORT.write_text("{")
    assert next_line(CONFIG) == "next: make eval RUN=r"
