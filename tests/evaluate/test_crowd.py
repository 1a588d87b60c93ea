"""A paid crowd: priced and asked first, in an order of each person's own, counted by rules stated before."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lib.base.costs import costs
from lib.base.errors import UserError
from lib.base.files import append_line, read_dicts, read_json, read_jsonl
from lib.base.schema import Judgment
from lib.evaluate.crowd_export import RATER, read_export, take_in_export
from lib.evaluate.crowd_log import BROKEN, Crowd, Line, Visitor, checks, read_work, visitor
from lib.evaluate.crowd_study import address, hash_of, keep, planned, price_lines, read_study
from lib.evaluate.people_page import Item, make_items, write_files
from lib.evaluate.people_records import People
from tests.evaluate.test_people import make_evaluation, open_page

ROOT = Path(__file__).parents[2]
HEADER = "Submission id,Participant id,Status,Started at,Completed at,Time taken,Completion code,Age"
START = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def evaluation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_evaluation(tmp_path)


def study_of(evaluation, n_people=50, n_items=6, pay=12.0, fee="company"):
    items = make_items(evaluation)
    write_files(evaluation, items)
    study = planned("mine", "quick", items, n_people, n_items, pay, fee)
    keep(evaluation.folder / "human", study)
    return study, items


def test_the_price_of_a_crowd_is_the_pay_for_its_time_in_whole_cents_and_the_fee_on_it():
    items = [Item(str(n), str(n), "a", {"tuned": "x", "base": "y"}, "tuned") for n in range(30)]
    study = planned("mine", "quick", items, 50, 30, 12.0, "company")
    assert (study.minutes, study.reward_usd) == (12, 2.4)  # 33 answers of 20 s are 11 minutes, 1 to read
    assert study.usd == round(50 * 2.4 * 1.428, 2)
    odd = planned("mine", "quick", items, 50, 4, 8.5, "academic")
    assert (odd.minutes, odd.reward_usd, odd.usd) == (4, 0.57, round(50 * 0.57 * 1.333, 2))  # 56.7 cents
    assert planned("mine", "quick", items[:5], 50, 30, 12.0, "company").n_items == 5


def crowd_of(evaluation, **more):
    study, items = study_of(evaluation, **more)
    return Crowd(study, items, evaluation.folder / "human/crowd/log.jsonl")


def who(name, session="S1"):
    return Visitor(name, "STUDY", session)


def work_through(crowd, person, seconds=8.0, n_failed=0, n_answers=None, prefers="tuned"):
    """One person's whole sitting, written as the page writes it, at a chosen pace."""
    crowd.begin(who(person))
    items = {item.id: item for item in make_items_of(crowd)}
    right = {name: ok for name, (_, ok) in checks(crowd.study).items()}
    path, work = crowd.path, crowd.work[person]
    lines = [line for line in read_dicts(path) if line["person"] != person]
    begun = {"event": "begun", "at": START.isoformat(), "person": person, "study": "STUDY", "session": "S1"}
    lines.append({**begun, "items": work.items})
    for n, item in enumerate(work.items[:n_answers], 1):
        if item in right:
            n_failed, choice = n_failed - 1, right[item] if n_failed <= 0 else "tie"
        else:
            choice = "A" if items[item].left == prefers else "B"
        at = (START + timedelta(seconds=seconds * n)).isoformat()
        lines.append({"event": "answer", "at": at, "person": person, "item": item, "choice": choice})
    path.unlink()
    for line in lines:
        append_line(path, Line.model_validate_json(json.dumps(line)))


def make_items_of(crowd):
    return crowd_items[crowd.study.key]


crowd_items = {}


@pytest.fixture
def crowd(evaluation):
    crowd = crowd_of(evaluation)
    crowd_items[crowd.study.key] = make_items(evaluation)
    return crowd


def export(path, *rows):
    """rows: (person, status) or (person, status, session)."""
    rows = [(*row, "S1")[:3] for row in rows]
    lines = [f"{row[2]},{row[0]},{row[1]},2026-11-20T12:00:00,,300,CODE,30" for row in rows]
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def command(*more, script="crowd", **environment):
    line = [sys.executable, "-m", f"scripts.{script}", "--config", "configs/train-mine.yaml"]
    return subprocess.run(
        [*line, "--eval", "configs/eval-quick.yaml", *more],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )


# --- the price -----------------------------------------------------------------------------------------


def test_the_price_is_pay_by_time_and_prolifics_fee(evaluation):
    items = make_items(evaluation) * 3
    study = planned("r", "e", items, 50, 24, 12.0, "company")  # 27 pairs of 20 s are 9 min, and one to read
    assert (study.minutes, study.reward_usd, study.usd) == (10, 2.0, 142.8)
    assert planned("r", "e", items, 50, 24, 12.0, "academic").usd == 133.3
    said = price_lines(study)
    assert "$142.80" in said and "VAT" in said and "42.8% of the pay" in said
    assert "votes   1,200, before" in said  # the attention checks are none
    with pytest.raises(UserError, match="PAY"):
        planned("r", "e", items, 50, 24, 5.0, "company")
    with pytest.raises(UserError, match="CROWD"):
        planned("r", "e", items, 0, 24, 12.0, "company")


def test_the_command_asks_before_it_plans_and_books_the_estimate_once(evaluation):
    asked = command("--people", "50")
    assert asked.returncode == 1 and "Nobody is here to answer" in asked.stderr
    human = evaluation.folder / "human"
    assert not human.exists()
    assert "MAX_USD=5" in command("--people", "50", YES="1", MAX_USD="5").stderr
    done = command("--people", "50", "--limit", "6", YES="1")
    assert done.returncode == 0, done.stderr
    study = read_study(human)
    text = (human / "crowd/study.txt").read_text()
    assert study.code in text and f"{study.usd:.2f}" in text and "Places: 50" in text
    assert all(rule in text for rule in study.rules)
    assert f"Reward: ${study.reward_usd:.2f} ($12 an hour)" in text and "6 pairs of short replies" in text
    command("--people", "99", YES="1")
    assert read_study(human) == study
    assert [row["state"] for row in read_dicts(human / "ledger.jsonl")] == ["intent"]
    (cost,) = costs(Path(), {})
    assert (cost.step, cost.name, cost.n_open, cost.open_usd) == ("crowd", "mine/quick/human", 1, study.usd)
    make_evaluation(Path(), words=lambda number, system: f"other {number} {system}")
    assert "replies have changed" in command("--people", "50", YES="1").stderr


def test_the_address_has_one_slash_and_the_pairs_a_name_whatever_their_order(evaluation):
    study, items = study_of(evaluation)
    for url in ("https://a.example", "https://a.example/"):
        assert address(study, url, "").startswith("https://a.example/?key=")
    assert hash_of(items) == hash_of(items[::-1]) != hash_of(items[1:])


# --- who comes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query, is_asked",
    [
        ("?key={key}&PROLIFIC_PID=5e90aa&STUDY_ID=a1&SESSION_ID=b2", True),
        ("?PROLIFIC_PID=5e90aa&STUDY_ID=a1&SESSION_ID=b2", False),
        ("?key=wrong&PROLIFIC_PID=5e90aa&STUDY_ID=a1&SESSION_ID=b2", False),
        ("?key={key}&PROLIFIC_PID=&STUDY_ID=a1&SESSION_ID=b2", False),
        ("?key={key}&PROLIFIC_PID=<b>x&STUDY_ID=a1&SESSION_ID=b2", False),
        ("?key={key}&PROLIFIC_PID=a%0Ab&STUDY_ID=a1&SESSION_ID=b2", False),
        ("?key={key}&PROLIFIC_PID=a&PROLIFIC_PID=b&STUDY_ID=a1&SESSION_ID=b2", False),
        ("?key={key}&PROLIFIC_PID=" + "a" * 65 + "&STUDY_ID=a1&SESSION_ID=b2", False),
        ("?key={key}&PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID=a1&SESSION_ID=b2", False),
        ("?key={key}" + "&a=b" * 100, False),
        ("", False),
    ],
)
def test_only_an_address_with_the_studys_key_and_whole_ids_is_asked(crowd, query, is_asked):
    assert (visitor(query.replace("{key}", crowd.study.key), crowd.study) is not None) == is_asked


def test_each_person_gets_an_order_of_their_own_and_all_pairs_come_up_alike(crowd):
    for n in range(20):
        crowd.begin(who(f"p{n}"))
    orders = [tuple(work.items) for work in crowd.work.values()]
    assert len(set(orders)) == 20
    assert len({tuple(sorted(order)) for order in orders}) > 2  # and pairs of their own
    ids = set(checks(crowd.study))
    assert all(len(set(order)) == 9 and ids <= set(order) and order[0] not in ids for order in orders)
    asked = Counter(item for order in orders for item in order if item not in ids)
    assert set(asked.values()) == {10}  # 20 people, 6 of 12 pairs each
    assert {tuple(n for n, item in enumerate(order) if item in ids) for order in orders} == {
        (1, 4, 6)
    }  # spread


def test_the_right_answer_to_a_check_is_the_reply_that_answers_the_post(crowd):
    good = {tweet: reply for tweet, reply, _ in BROKEN}
    found = [(shown, right) for shown, right in checks(crowd.study).values() if shown["tweet"] in good]
    assert all(shown[f"reply_{right.lower()}"] == good[shown["tweet"]] for shown, right in found)
    assert len(found) == 2 and sorted(right for _, right in checks(crowd.study).values())[-1] == "both_bad"


def test_the_first_answer_in_the_log_counts_and_only_another_submission_is_another(crowd):
    crowd.begin(who("p"))
    crowd.begin(who("p"))  # a reload
    item = crowd.open_pair("p")["item"]
    crowd.give("p", item, "B")
    for line in read_dicts(crowd.path)[-1:]:
        append_line(crowd.path, Line.model_validate_json(json.dumps({**line, "choice": "A"})))
    work = read_work(crowd.path)["p"]
    assert (work.answers[item][0], work.n_again) == ("B", 0)


def test_what_is_shown_names_no_system_and_a_check_looks_like_every_other_pair(crowd):
    crowd.begin(who("p"))
    shapes = set()
    while (pair := crowd.open_pair("p")) is not None:
        assert not re.search(r"tuned|base|500\d|check", " ".join(pair.values()).replace("only checks", ""))
        shapes.add((tuple(pair), len(pair["item"]), pair["item"][0]))
        crowd.give("p", pair["item"], "A")
    assert len(shapes) == 1
    assert crowd.work["p"].is_done


def test_answers_survive_a_kill_and_count_once(crowd):
    crowd.begin(who("p"))
    first = crowd.open_pair("p")["item"]
    crowd.give("p", first, "B")
    crowd.give("p", first, "A")
    crowd.give("p", "nothing", "A")
    crowd.give("p", crowd.work["p"].items[3], "<b>")
    crowd.give("stranger", first, "A")
    with crowd.path.open("a") as handle:
        handle.write('{"event": "answer", "person": "p", "item": "i')  # killed in the middle of a line
    again = Crowd(crowd.study, make_items_of(crowd), crowd.path)
    again.begin(who("p", "S2"))
    assert again.work["p"].items == crowd.work["p"].items
    assert {item: choice for item, (choice, _) in again.work["p"].answers.items()} == {first: "B"}
    assert again.work["p"].n_again == 1
    assert again.open_pair("p")["item"] == crowd.work["p"].items[1]


def test_several_people_at_once_lose_nothing(crowd):
    def sit(name):
        crowd.begin(who(name))
        while pair := crowd.open_pair(name):
            crowd.give(name, pair["item"], "tie")

    threads = [threading.Thread(target=sit, args=(f"p{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(work.is_done for work in read_work(crowd.path).values())
    assert len(read_work(crowd.path)) == 6


# --- who counts ----------------------------------------------------------------------------------------


def test_people_are_left_out_by_the_rules_and_counted_with_the_reason(evaluation, crowd, tmp_path):
    for name, how in {
        "good": {},
        "awaiting": {},
        "fast": {"seconds": 1.0},
        "oneslip": {"n_failed": 1},
        "failed": {"n_failed": 2},
        "half": {"n_answers": 4},
        "returned": {},
        "rejected": {},
        "stranger": {},
        "twice": {},
    }.items():
        work_through(crowd, name, **how)
    path = export(
        tmp_path / "e.csv",
        *((name, "APPROVED") for name in ("good", "oneslip", "fast", "failed", "half", "nevercame")),
        ("awaiting", "AWAITING REVIEW"),
        ("returned", "RETURNED"),
        ("rejected", "Rejected"),
        ("twice", "APPROVED"),
        ("twice", "TIMED-OUT", "S9"),
    )
    found, answers = take_in_export(evaluation.folder / "human", crowd.study, path)
    assert found.left_out == {
        "too fast": 1,
        "failed checks": 1,
        "unfinished": 1,
        "returned": 1,
        "rejected": 1,
        "not in the export": 1,
    }
    assert (found.n_people, found.n_counted, found.asked_twice, found.never_came) == (10, 4, 1, 1)
    assert (found.n_pending, found.other_code) == (1, 8)
    rows = read_dicts(answers)
    assert len(rows) == 4 * 6 and not {row["item"] for row in rows} & set(checks(crowd.study))
    assert not re.search("good|twice", answers.read_text())  # no id of Prolific leaves the log


def at_pace(crowd, person, seconds):
    """A whole sitting with so many seconds before each answer."""
    work_through(crowd, person)
    lines, at = read_dicts(crowd.path), START
    own = [line for line in lines if line["person"] == person and line["event"] == "answer"]
    for line, pause in zip(own, seconds, strict=True):
        at += timedelta(seconds=pause)
        line["at"] = at.isoformat()
    crowd.path.unlink()
    for line in lines:
        append_line(crowd.path, Line.model_validate_json(json.dumps(line)))


def test_the_median_answer_tells_who_was_too_fast_the_first_one_counted(evaluation, crowd, tmp_path):
    paces = {
        "break": ([1] * 8 + [900], "too fast"),
        "first": ([60] + [1] * 4 + [4] * 4, None),
        "just": ([3] * 9, None),
    }
    for name, (seconds, _) in paces.items():
        at_pace(crowd, name, seconds)
    path = export(tmp_path / "e.csv", *((name, "APPROVED") for name in paces))
    found, _ = take_in_export(evaluation.folder / "human", crowd.study, path)
    assert (found.left_out, found.n_counted) == ({"too fast": 1}, 2)


def test_the_submission_that_answered_decides_and_open_ones_are_not_decided(evaluation, crowd, tmp_path):
    work_through(crowd, "twice")
    rows = [("twice", "RETURNED", "S0"), ("twice", "APPROVED"), ("a", "ACTIVE"), ("b", "RESERVED")]
    human = evaluation.folder / "human"
    found, _ = take_in_export(human, crowd.study, export(tmp_path / "e.csv", *rows))
    assert (found.n_counted, found.n_pending, found.usd) == (1, 2, round(crowd.study.reward_usd * 1.428, 2))
    assert read_dicts(human / "ledger.jsonl")[-1]["state"] == "started"
    found, _ = take_in_export(human, crowd.study, export(tmp_path / "e.csv", *rows[:2], ("b", "RESERVED")))
    assert found.n_pending == 1 and read_dicts(human / "ledger.jsonl")[-1]["state"] == "started"


def test_the_answers_are_votes_like_any_other_and_a_later_export_replaces_the_earlier(
    evaluation, crowd, tmp_path
):
    human = evaluation.folder / "human"
    for name in ("ann", "bob"):
        work_through(crowd, name)
    path = export(tmp_path / "e.csv", ("ann", "APPROVED"), ("bob", "AWAITING REVIEW"))
    done = command("--import", str(path), script="crowd_export")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 people count" in done.stdout
    report = People.model_validate(read_json(human / "report.json"))
    assert report.n_answers == 12 and report.comparison.wins == report.comparison.n
    assert report.crowd.n_counted == 2 and all(name.startswith(RATER) for name in report.raters)
    (cost,) = costs(Path(), {})
    assert (cost.n_open, cost.usd) == (1, 0)
    export(path, ("ann", "APPROVED"), ("bob", "REJECTED"))
    done = command("--import", str(path), script="crowd_export")
    assert "1 of 2 people count, rejected 1" in done.stdout
    assert len(read_jsonl(human / "judgments.jsonl", Judgment)) == 6
    (cost,) = costs(Path(), {})
    paid = round(crowd.study.reward_usd * 1.428, 2)
    assert (cost.n_open, cost.usd, cost.estimate_usd) == (0, paid, crowd.study.usd)
    assert command("--import", str(path), script="crowd_export").returncode == 0
    assert len(read_dicts(human / "ledger.jsonl")) == 3


def test_an_export_of_earlier_years_is_read_and_another_file_gets_a_sentence(tmp_path):
    path = tmp_path / "old.csv"
    path.write_text("session_id,participant_id,status,entered_code,time_taken\nS1,p1,approved,X,100\n")
    assert [(one.person, one.status, one.code) for one in read_export(path)] == [("p1", "APPROVED", "X")]
    path.write_text("rater,item,choice\n")
    with pytest.raises(UserError, match="not Prolific's export"):
        read_export(path)


def test_an_export_imported_as_answers_is_told_apart(evaluation, tmp_path):
    study_of(evaluation)
    path = export(tmp_path / "e.csv", ("p", "APPROVED"))
    assert "import it with CROWD=1" in command("--import", str(path), script="human_eval").stderr


# --- in a browser --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_page_asks_with_consent_gives_the_code_at_the_end_and_names_nobody(evaluation, browser):
    study, _ = study_of(evaluation, n_items=2)
    line = [sys.executable, "-m", "demo.crowd_app", "--config", "configs/train-mine.yaml"]
    process = subprocess.Popen(
        [*line, "--eval", "configs/eval-quick.yaml"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        lines = iter(process.stdout.readline, "")
        url = next(found[0] for line in lines if (found := re.search(r"http://127\.0\.0\.1:\d+/", line)))
        stranger = open_page(browser, url)
        stranger.wait_for_selector("text=needs the whole address")
        assert not stranger.locator("#begin").is_visible()
        ids = "PROLIFIC_PID=abc1&STUDY_ID=s1&SESSION_ID=x1"
        page = open_page(browser, url)
        sent = []
        page.on("response", lambda response: sent.append(response.url))
        page.goto(f"{url}?key={study.key}&{ids}")
        page.wait_for_selector("text=By pressing")
        assert f"{study.reward_usd:.2f}" in page.inner_text("#page")
        page.click("#begin")
        for n in range(5):
            page.wait_for_selector(f"text={n} of 5")
            assert study.code not in page.content()
            assert not re.search(r"\btuned\b|\bbase\b", page.inner_text("body"))
            page.wait_for_selector("[data-item]")
            page.wait_for_selector("#key-1")
            page.keyboard.press("1")
        page.wait_for_selector("#code")
        assert page.inner_text("#code") == study.code
        assert page.trouble == []
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "1 people began, 1 finished" in out
    (work,) = read_work(evaluation.folder / "human/crowd/log.jsonl").values()
    assert (work.study, work.session, len(work.answers)) == ("s1", "x1", 5)
