"""`make repair`: books that were damaged are mended from what lies beside them, and nothing is paid for twice
afterwards.
"""

# ruff: noqa: F811, F401 -- fixtures of other test files

import json
import random
import sys
from dataclasses import replace

import pytest

from lib.base.costs import costs
from lib.base.errors import UserError
from lib.base.files import read_dicts, read_json, write_bytes
from lib.base.ledger import Ledger
from lib.collect import apify as apify_source
from lib.collect.provider import GoneError
from lib.judge.repair_judge import repair_judge
from scripts import repair
from tests.collect.test_collection import here, impatient, run_job
from tests.judge.test_claude import BATCH, LIVE, Judge, command, questions, stub
from tests.stubs.anthropic_server import Fault
from tests.stubs.apify_server import ApifyStub
from tests.stubs.tweets_world import world


def mended(folder):
    said = []
    repair_judge(folder, said.append)
    return said


def lines_of(path):
    return path.read_bytes().split(b"\n")[:-1]


def garbled(line):
    return line[: len(line) // 3] + b"\x00\xff~~" + line[len(line) // 2 :]


DAMAGE = {
    "torn": lambda lines: b"\n".join(lines)[:-20],
    "garbled": lambda lines: b"\n".join([*lines[:3], garbled(lines[3]), *lines[4:]]) + b"\n",
    "zeros": lambda lines: b"\n".join([*lines[:3], b"\0" * 300, *lines[4:]]) + b"\n",
    "doubled": lambda lines: b"\n".join([*lines, *lines[:4]]) + b"\n",
    "glued": lambda lines: b"\n".join([*lines[:3], lines[3] + lines[4], *lines[5:]]) + b"\n",
    "utf-16": lambda lines: (b"\n".join(lines) + b"\n").decode().encode("utf-16"),
    "bom": lambda lines: b"\xef\xbb\xbf" + b"\r\n".join(lines) + b"\r\n",
    "latin-1": lambda lines: (
        b"\n".join(lines)
        .replace(b'"because', b'"b\xe9cause')
        .replace(b'"note": {"', b'"note": {"\xe9": 1, "')
        + b"\n"
    ),
    "not an object": lambda lines: b"\n".join([*lines[:3], b"[]", b'{"a": 1}', b"null", *lines[3:]]) + b"\n",
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", ["ledger.jsonl", "work/answers.jsonl", "work/judgments.jsonl"])
def test_a_damaged_book_of_the_judge_is_mended_and_nothing_is_asked_twice(stub, tmp_path, name, how):
    judge = Judge(tmp_path)
    judge(questions(12))
    path = tmp_path / name
    before = lines_of(path)
    path.write_bytes(DAMAGE[how](before))
    mended(tmp_path)
    readable = path.read_bytes()
    mended(tmp_path)
    assert path.read_bytes() == readable  # the second time there is nothing to do
    judge = Judge(tmp_path)
    judge(questions(12))
    assert len(judge.judgments) == 12 == len(stub.paid) and max(stub.seen.values()) == 1
    account = judge.account()
    assert (
        account["usd"] - account["possibly_paid_usd"] == pytest.approx(stub.billed_usd())
        and account["answers"] == 12
    )


def test_a_damaged_line_is_put_aside_and_never_thrown_away(stub, tmp_path):
    Judge(tmp_path)(questions(5))
    path = tmp_path / "ledger.jsonl"
    lines = lines_of(path)
    bad = [garbled(lines[2]), b"\xff\xfe rubbish"]
    path.write_bytes(b"\n".join([*lines[:2], *bad, *lines[3:]]) + b"\n")
    mended(tmp_path)
    assert lines_of(tmp_path / "ledger.jsonl.damaged") == bad
    assert (tmp_path / "ledger.jsonl.damaged").stat().st_size and Ledger(path).entries()


def test_the_error_about_a_damaged_book_names_the_command_and_never_says_delete(tmp_path):
    for name, advice in {
        "data/main/ledger.jsonl": "make repair DATA=main",
        "adapters/mine/eval/quick/ledger.jsonl": "make repair RUN=mine EVAL=quick",
        "adapters/mine/eval/quick/work/answers.jsonl": "make repair RUN=mine EVAL=quick",
        "adapters/mine/ledger.jsonl": "make repair RUN=mine",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for content in ('{"key": \n', "[]\n"):
            path.write_text(content)
            with pytest.raises(UserError, match=advice) as caught:
                Ledger(path).entries() if name.endswith("ledger.jsonl") else read_dicts(path)
            assert "Delete the line" not in str(caught.value)


@pytest.mark.parametrize("name", ["ledger.jsonl", "work/answers.jsonl", "work/judgments.jsonl"])
def test_a_book_that_is_gone_is_written_anew_from_the_others(stub, tmp_path, name):
    Judge(tmp_path)(questions(6))
    (tmp_path / name).unlink()
    mended(tmp_path)
    judge = Judge(tmp_path)
    judge(questions(6))
    assert len(stub.paid) == 6 == len(judge.judgments) and judge.account()["usd"] == pytest.approx(
        stub.billed_usd()
    )


def test_an_answer_of_which_nothing_is_left_is_asked_again_only_with_a_word(stub, tmp_path):
    Judge(tmp_path)(questions(6))
    for name in ("answers", "judgments"):
        path = tmp_path / "work" / f"{name}.jsonl"
        lines = sorted(lines_of(path), key=lambda line: json.loads(line)["key"])
        path.write_bytes(b"\n".join(lines[1:]) + b"\nrubbish\n")
    said = mended(tmp_path)
    assert any("AGAIN=1" in line for line in said)
    judge = Judge(tmp_path)
    judge(questions(6))
    assert (
        len(stub.paid) == 6 and list(judge.failed.values()) == ["answer_lost"] and len(judge.judgments) == 5
    )
    judge(questions(6), LIVE, again=True)
    assert len(judge.judgments) == 6 and len(stub.paid) == 7
    assert Judge(tmp_path).account()["usd"] == pytest.approx(stub.billed_usd())


def test_a_line_that_says_nothing_any_more_holds_back_what_may_have_been_asked(stub, tmp_path):
    Judge(tmp_path)(questions(6))
    with (tmp_path / "ledger.jsonl").open("ab") as ledger:
        ledger.write(b"\0" * 200 + b"\n")
    assert any("AGAIN=1" in line for line in mended(tmp_path))
    judge = Judge(tmp_path)
    judge(questions(9))
    assert len(stub.paid) == 6 and any("nobody knows" in line for line in judge.said)
    judge(questions(9), LIVE, again=True)
    assert len(judge.judgments) == 9


@pytest.mark.parametrize(
    "name", ["ledger.jsonl", "work/answers.jsonl", "work/batches.jsonl", "work/judgments.jsonl"]
)
@pytest.mark.parametrize("also", ["", "work/judgments.jsonl"])
def test_what_is_missing_of_a_batch_is_read_again_and_never_asked_again(stub, tmp_path, name, also):
    Judge(tmp_path)(questions(15), BATCH)
    for lost in {name, also} - {""}:
        (tmp_path / lost).write_bytes(
            b"".join(line + b"\n" for line in lines_of(tmp_path / lost)[:1]) + b"rubbish\n"
        )
    keys = [
        json.loads(line)["key"] for line in lines_of(tmp_path / "work/answers.jsonl") if line.startswith(b"{")
    ]
    mended(tmp_path)
    judge = Judge(tmp_path)
    judge(questions(15), BATCH)
    judge(questions(15), BATCH, again=True)
    assert keys and len(stub.batches) == 1 and max(stub.seen.values()) == 1 and len(judge.judgments) == 15


def test_the_keys_of_a_batch_under_way_are_worked_out_from_the_questions(
    stub, command, tmp_path, monkeypatch
):
    stub.faults = [Fault("results", 500, times=100)]
    monkeypatch.setattr("lib.judge.claude_client.wait_s", lambda *_: 0)
    with pytest.raises(UserError):
        command(batch="always")
    work = tmp_path / "adapters/mine/eval/quick/work"
    (work / "batches.jsonl").write_bytes(b"rubbish\n")
    stub.faults = []
    with pytest.raises(UserError, match="make repair RUN=mine EVAL=quick"):
        command(batch="always")
    run_repair(monkeypatch)
    where = command(batch="always")
    assert len(stub.batches) == 1 and max(stub.seen.values()) == 1
    manifest = read_json(where / "judgments.manifest.json")
    assert manifest["n_failed"] == 0 and manifest["account"]["usd"] == pytest.approx(stub.billed_usd())


def run_repair(monkeypatch):
    monkeypatch.setattr(
        sys,
        "argv",
        ["repair", "--data", "data/main", "--run", "adapters/mine", "--eval", "adapters/mine/eval/quick"],
    )
    repair.main()


@pytest.mark.parametrize("seed", range(3))
def test_any_damage_to_the_judges_books_leaves_nothing_asked_twice(stub, tmp_path, seed):
    Judge(tmp_path)(questions(12))
    chance = random.Random(seed)
    names = ("ledger.jsonl", "work/answers.jsonl", "work/judgments.jsonl", "work/judgments.failed.jsonl")
    for _ in range(8):
        for name in names:
            path = tmp_path / name
            if path.exists() and chance.random() < 0.5:
                content = bytearray(path.read_bytes())
                start = chance.randrange(len(content))
                content[start : start + chance.randrange(1, 400)] = chance.randbytes(chance.randrange(0, 40))
                path.write_bytes(bytes(content))
        mended(tmp_path)
        assert mended(tmp_path) == []
        judge = Judge(tmp_path)
        judge(questions(12))
        assert len(stub.paid) == 12
        assert Judge(tmp_path).account()["usd"] >= stub.billed_usd() - 1e-9


@pytest.mark.parametrize("n_writes", range(4))
def test_stopped_at_any_write_the_same_command_mends_the_rest(stub, tmp_path, monkeypatch, n_writes):
    Judge(tmp_path)(questions(12))
    for name in ("ledger.jsonl", "work/answers.jsonl", "work/judgments.jsonl"):
        lines = lines_of(tmp_path / name)
        (tmp_path / name).write_bytes(DAMAGE["garbled"](lines))
    left = iter(range(n_writes))

    def write(path, content):
        if next(left, None) is None:
            raise KeyboardInterrupt
        write_bytes(path, content)

    monkeypatch.setattr("lib.base.salvage.write_bytes", write)
    try:
        mended(tmp_path)
    except KeyboardInterrupt:
        monkeypatch.setattr("lib.base.salvage.write_bytes", write_bytes)
        mended(tmp_path)
    monkeypatch.setattr("lib.base.salvage.write_bytes", write_bytes)
    assert mended(tmp_path) == []
    judge = Judge(tmp_path)
    judge(questions(12))
    assert len(stub.paid) == 12 and len(judge.judgments) + len(judge.failed) == 12
    assert len(lines_of(tmp_path / "ledger.jsonl.damaged")) == 1


def test_errors_that_were_booked_as_possibly_paid_are_taken_back(stub, tmp_path):
    judge = Judge(tmp_path)
    judge(questions(3))
    for key in list(judge.judgments)[:1]:
        note = {"possibly_paid": True, "reason": "status 500: Internal server error"}
        judge.ledger.append("intent", f"{key[::-1]}-1", "judge", note={"worst_usd": 5.0})
        judge.ledger.append("done", f"{key[::-1]}-1", "judge", usd=5.0, note=note)
    assert judge.account()["usd"] > 5
    mended(tmp_path)
    assert (
        judge.account()["usd"] == pytest.approx(stub.billed_usd()) and judge.account()["possibly_paid"] == 0
    )


# --- a data set ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [how for how in DAMAGE if how != "latin-1"])
def test_a_damaged_ledger_of_a_set_is_mended_and_nothing_is_bought_twice(here, monkeypatch, how, capsys):
    with ApifyStub(world) as stub:
        run_job(stub, monkeypatch)
        n_runs, path = len(stub.runs), here / "data/main/ledger.jsonl"
        path.write_bytes(DAMAGE[how](lines_of(path)))
        run_repair(monkeypatch)
        capsys.readouterr()
        run_repair(monkeypatch)
        assert "nothing to mend" in capsys.readouterr().out
        run_job(stub, monkeypatch)
        assert len(stub.runs) == n_runs
        assert sum(cost.usd for cost in costs(here, {})) >= stub.billed_usd() - 1e-9


def test_a_ledger_of_a_set_that_is_gone_is_written_anew_from_what_was_bought(here, monkeypatch):
    with ApifyStub(world) as stub:
        run_job(stub, monkeypatch)
        n_runs = len(stub.runs)
        (here / "data/main/ledger.jsonl").unlink()
        run_repair(monkeypatch)
        run_job(stub, monkeypatch)
        assert len(stub.runs) == n_runs and sum(cost.usd for cost in costs(here, {})) == pytest.approx(
            stub.billed_usd()
        )


@pytest.mark.parametrize("state", ["intent", "started"])
def test_a_run_that_no_line_tells_of_any_more_is_looked_for_before_another_is_started(
    here, monkeypatch, state
):
    with ApifyStub(world) as stub:
        run_job(stub, monkeypatch)
        n_runs, path = len(stub.runs), here / "data/main/ledger.jsonl"
        newest = json.loads(lines_of(path)[-1])
        (here / "data/main/raw" / newest["note"]["file"]).unlink()
        kept = [line for line in lines_of(path) if json.loads(line)["key"] != newest["key"]]
        own = [line for line in lines_of(path) if json.loads(line)["key"] == newest["key"]]
        rest = [garbled(own[0])] if state == "intent" else [b"\0" * 100, own[1]]
        path.write_bytes(b"\n".join([*kept, *rest]) + b"\n")
        (here / "data/main/raw/manifest.json").unlink()
        run_repair(monkeypatch)
        run_job(stub, monkeypatch)
        assert (
            len(stub.runs) == n_runs and sum(cost.usd for cost in costs(here, {})) >= stub.billed_usd() - 1e-9
        )


def test_a_run_that_the_provider_has_deleted_is_bought_again_only_with_a_word(here, monkeypatch):
    with ApifyStub(world) as stub:
        run_job(stub, monkeypatch)
        n_runs, path = len(stub.runs), here / "data/main/ledger.jsonl"
        lines = lines_of(path)
        path.write_bytes(b"\n".join(lines[:-1]) + b"\n")  # killed before the last run was read
        (here / "data/main/raw" / json.loads(lines[-1])["note"]["file"]).unlink()
        with_all = apify_source.connect

        def connect(config):
            def gone(run_id):
                if run_id == json.loads(lines[-1])["id"]:
                    raise GoneError("gone")
                return provider.wait(run_id)

            provider = with_all(config)
            return replace(provider, wait=gone)

        monkeypatch.setattr(apify_source, "connect", connect)
        with pytest.raises(GoneError):
            run_job(stub, monkeypatch)
        run_job(stub, monkeypatch, again=True)
        assert len(stub.runs) == n_runs + 1


def test_there_is_nothing_to_mend_where_nothing_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_repair(monkeypatch)
    assert "nothing to mend" in capsys.readouterr().out


def test_of_a_crowds_damaged_ledger_what_can_be_read_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ledger = Ledger(tmp_path / "adapters/r/eval/e/human/ledger.jsonl")
    ledger.path.parent.mkdir(parents=True)
    booked = [
        ledger.append("intent", "crowd-1", "crowd"),
        ledger.append("done", "crowd-1", "crowd", usd=12.5),
    ]
    lines = lines_of(ledger.path)
    write_bytes(ledger.path, b"\n".join([lines[0], b"\0garbled", lines[1]]) + b"\n")
    monkeypatch.setattr(
        sys, "argv", ["repair", "--data", "data/x", "--run", "adapters/r", "--eval", "adapters/r/eval/e"]
    )
    repair.main()
    assert "human/ledger.jsonl: 2 lines kept, 1 damaged lines put aside" in capsys.readouterr().out
    assert ledger.entries() == booked
