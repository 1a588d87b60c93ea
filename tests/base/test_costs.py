import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib.base.costs import budget_usd, costs, name_of, table
from lib.base.errors import UserError
from lib.base.files import write_json
from lib.base.ledger import Ledger, open_units
from lib.train.manifest import training_usd

ROOT = Path(__file__).parents[2]


def buy(path, key, kind, usd, **note):
    ledger = Ledger(path)
    ledger.append("intent", key, kind, note={"worst_usd": 9.0, **note})
    ledger.append("started", key, kind, id=f"R{key}")
    ledger.append("done", key, kind, id=f"R{key}", usd=usd, note=note)


@pytest.fixture
def project(tmp_path):
    """Two searches, one conversation, a judge batch, a run trained here and one on a rented pod."""
    data = tmp_path / "data/main/ledger.jsonl"
    buy(data, "a", "collect", 0.02, step="search")
    buy(data, "b", "collect", 0.01, step="search")
    buy(data, "c", "collect", 0.005, step="replies")
    buy(tmp_path / "adapters/qwen3-8b/eval/claude/ledger.jsonl", "d", "judge", 1.5)
    buy(tmp_path / "adapters/qwen3-8b/ledger.jsonl", "e", "pod", 0.75)
    write_json(tmp_path / "adapters/qwen3-8b/manifest.json", {"usd": 0.5})
    write_json(tmp_path / "adapters/tiny/manifest.json", {"usd": 0.0})
    write_json(tmp_path / "adapters/old/manifest.json", {"run": "old"})
    return tmp_path


def test_every_paid_step_is_counted_once(project):
    found = {
        (cost.step, cost.name): (cost.n_units, cost.usd) for cost in costs(project, training_usd(project))
    }
    assert found == {
        ("collect replies", "main"): (1, 0.005),
        ("collect search", "main"): (2, 0.03),
        ("judge", "qwen3-8b/claude"): (1, 1.5),
        ("pod", "qwen3-8b"): (1, 0.75),  # the training of this run is in the pod's price
        ("train", "tiny"): (1, 0.0),
    }


def test_the_table_ends_with_the_total(project):
    lines = table(costs(project, training_usd(project))).splitlines()
    assert lines[0].split() == ["step", "set", "or", "run", "units", "estimate", "usd"]
    assert lines[-1].split() == ["total", "2.2850"]
    assert len({len(line) for line in lines}) == 1


def test_an_estimate_stands_beside_what_it_became(project):
    ledger = Ledger(project / "adapters/qwen3-8b/ledger.jsonl")
    ledger.append("intent", "f", "pod", note={"worst_usd": 3.0, "estimate_usd": 0.4})
    ledger.append("done", "f", "pod", usd=0.5)
    lines = table(costs(project, training_usd(project))).splitlines()
    assert lines[0].split() == ["step", "set", "or", "run", "units", "estimate", "usd"]
    assert next(line.split() for line in lines if line.startswith("pod")) == [
        "pod",
        "qwen3-8b",
        "2",
        "≤",
        "9.4000",  # of one machine an estimate is known, of the other only what it could cost at most
        "1.2500",
    ]
    assert lines[-1].split() == ["total", "2.7850"]


def test_apify_judges_crowds_machines_and_the_field_stand_in_one_account(project):
    buy(project / "adapters/tiny/eval/claude/human/ledger.jsonl", "h", "crowd", 140.0, estimate_usd=142.8)
    buy(project / "adapters/tiny/field/ledger.jsonl", "i", "collect", 0.08, step="counts")
    ledger = Ledger(project / "adapters/tiny/eval/other/human/ledger.jsonl")
    ledger.append("intent", "j", "crowd", note={"worst_usd": 50.0, "estimate_usd": 50.0})
    lines = table(costs(project, training_usd(project))).splitlines()
    by_step = {tuple(line.split("  ")[0:1]): line for line in lines}
    assert {name for (name,) in by_step} >= {
        "collect search",
        "judge",
        "pod",
        "crowd",
        "collect counts",
        "train",
    }
    assert by_step[("collect counts",)].split() == [
        "collect",
        "counts",
        "tiny/field",
        "1",
        "≤",
        "9.0000",
        "0.0800",
    ]
    assert [line.split() for line in lines if line.startswith("crowd")] == [
        ["crowd", "tiny/claude/human", "1", "142.8000", "140.0000"],
        ["crowd", "tiny/other/human", "0", "–", "0.0000"],
    ]
    assert lines[-1] == "not booked yet: 1 of crowd (tiny/other/human), up to $50.0000"


def test_a_run_whose_machines_never_started_costs_what_its_own_training_cost(project):
    Ledger(project / "adapters/tiny/ledger.jsonl").append("failed", "f", "pod", usd=0.0)
    assert ("train", "tiny") in {(cost.step, cost.name) for cost in costs(project, training_usd(project))}


def test_a_unit_that_failed_costs_what_was_billed_for_it_and_is_closed(project):
    path = project / "data/main/ledger.jsonl"
    Ledger(path).append("intent", "f", "collect", note={"step": "search", "worst_usd": 0.02})
    Ledger(path).append("failed", "f", "collect", usd=0.01, note={"step": "search"})
    found = {(cost.step, cost.name): cost for cost in costs(project, {})}
    search = found["collect search", "main"]
    assert (search.n_units, search.n_open, search.usd) == (2, 0, pytest.approx(0.04))
    assert Ledger(path).spent_usd("collect") == pytest.approx(0.045)
    assert open_units(Ledger(path).entries(), "collect") == []


@pytest.mark.parametrize(
    "lowered, usd", [(None, 20), ("", 20), ("5", 5), ("0.50", 0.5), ("0", 0), ("20", 20), ("500", 20)]
)
def test_max_usd_lowers_a_budget_and_never_raises_it(lowered, usd):
    assert budget_usd(20, lowered) == usd


@pytest.mark.parametrize("lowered", ["-1", "nan", "five", "5 dollars"])
def test_a_budget_that_is_no_amount_is_a_sentence(lowered):
    with pytest.raises(UserError, match=f"MAX_USD={lowered}: expected an amount"):
        budget_usd(20, lowered)


def test_what_is_under_way_is_named_with_its_worst_case_and_not_in_the_total(project):
    ledger = Ledger(project / "data/main/ledger.jsonl")
    ledger.append("intent", "f", "collect", note={"step": "search", "worst_usd": 0.02})
    ledger.append("intent", "g", "collect", note={"step": "search", "worst_usd": 0.02})
    ledger.append("failed", "g", "collect", usd=0.0)
    text = table(costs(project, training_usd(project)))
    assert text.splitlines()[-1] == "not booked yet: 1 of collect search (main), up to $0.0200"
    assert "2.2850" in text


def test_a_ledger_line_cut_off_by_a_crash_is_not_counted(project):
    with (project / "data/main/ledger.jsonl").open("a") as handle:
        handle.write('{"key": "h", "state": "done", "usd": 100')
    assert sum(cost.usd for cost in costs(project, training_usd(project))) == pytest.approx(2.285)


def test_a_broken_ledger_is_named_with_its_line(project):
    with (project / "data/main/ledger.jsonl").open("a") as handle:
        handle.write("nonsense\n")
    with pytest.raises(UserError, match=r"data/main/ledger\.jsonl:10: not valid JSON"):
        costs(project, training_usd(project))


def test_where_nothing_was_paid_the_sentence_says_so(tmp_path):
    said = table(costs(tmp_path, training_usd(tmp_path)))
    assert said.startswith("Nothing has been paid for here")


def test_an_evaluation_is_named_after_its_run(project):
    assert name_of(Path("adapters/tiny/eval/offline/ledger.jsonl")) == "tiny/offline"


def test_the_command_prints_the_table(project):
    line = [sys.executable, "-m", "scripts.costs"]
    done = subprocess.run(
        line,
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout.splitlines()[-1].split()) == (0, ["total", "2.2850"])
