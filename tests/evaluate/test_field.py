"""The field test through its commands: planned once, drawn blind and once, counted, and told at the end."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from lib.base.costs import costs
from lib.base.errors import UserError
from lib.base.files import content_hash, read_dicts, read_json, write_json
from lib.data.counts import read_counts
from lib.evaluate.evaluation import Evaluation
from lib.evaluate.field_log import Draft, FieldLog, post_in, time_of
from lib.evaluate.field_page import doubts, sentence
from lib.evaluate.field_plan import folder_of, read_plan, refuse_other_writer, secret_of, write_plan
from lib.evaluate.field_records import FieldReport
from lib.evaluate.field_report import _week, standing, take_in
from lib.evaluate.field_session import Drafts, shown, talk
from lib.evidence.allocation import slots
from lib.evidence.field import smallest_ratio
from lib.model.generate import Engine, Generated
from tests.eval_data import write_configs, write_data
from tests.stubs.apify_server import TOKEN, ApifyStub
from tests.stubs.openai_server import OpenAIStub

ROOT = Path(__file__).parents[2]
HOSTILE = "Look $(touch owned) `touch owned` \x1b[31mred <b>'\"; rm -rf / \u202eback"


@pytest.fixture
def stub():
    with OpenAIStub() as server:
        yield server


@pytest.fixture
def project(tmp_path, monkeypatch, stub):
    """A run `mine` whose base and tuned answer from a loopback server."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)
    arm = {"base_url": stub.url, "quantization": "nf4"}
    arms = {"base": {**arm, "model": stub.models[0]}, "tuned": {**arm, "model": stub.models[1]}}
    write_configs(tmp_path, evaluation={"engine": {"openai": arms}})
    return tmp_path


def evaluation():
    return Evaluation.of(Path("configs/train-mine.yaml"), Path("configs/eval-quick.yaml"))


def begun(n_posts=20, hours=0):
    plan = write_plan(evaluation(), n_posts, hours, 3.0)
    return FieldLog(folder_of(evaluation()), plan)


def command(*more, script="field", stdin="", **environment):
    line = [sys.executable, "-m", f"scripts.{script}", "--config", "configs/train-mine.yaml"]
    return subprocess.run(
        [*line, "--eval", "configs/eval-quick.yaml", *more],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        input=stdin,
        timeout=120,
    )


def snowflake(number=0, at=None):
    moment = at or datetime.now(UTC)
    return (int(moment.timestamp() * 1000) - 1_288_834_974_657 << 22) + number


def link(number=0, at=None):
    return f"https://x.com/me/status/{snowflake(number, at)}"


def post_all(log, n):
    for number in range(1, n + 1):
        log.draw(f"tweet number {number}")
        log.write(number, f"a reply to {number}")
        log.post(number, link(number))


def likes_file(path, log, likes_of, **more):
    rows = [
        {"id": draft.post_id, "likeCount": likes_of(draft), "viewCount": 100, "fullText": draft.reply, **more}
        for draft in log.drafts().values()
        if draft.post_id
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def arms_of(log):
    secret = secret_of(log.path.parent, log.plan)
    return {slot + 1: one.arm for slot, one in enumerate(slots(secret, 400))}


# --- the plan ------------------------------------------------------------------------------------------


def test_without_a_plan_the_command_says_how_many_posts_it_takes(project):
    done = command()
    assert done.returncode == 0, done.stderr
    assert re.search(r"2 times +\d+ +1\d0 +\d+", done.stdout)
    assert done.stdout.splitlines()[-1] == "next: make field RUN=mine POSTS=200"
    assert not (project / "adapters").exists()


def test_a_plan_is_written_once_and_states_the_rules_the_analysis_and_its_power(project):
    done = command("--posts", "200")
    assert done.returncode == 0, done.stderr
    assert "this program posts nothing" in done.stdout
    plan = read_json(Path("adapters/mine/field/plan.json"))
    assert (plan["n_posts"], plan["hours"], plan["smallest_ratio"]) == (200, 72, pytest.approx(2, abs=0.2))
    assert any("randomisation test" in line for line in plan["analysis"])
    assert "plan does not change" in command("--posts", "100").stderr
    assert read_json(Path("adapters/mine/field/plan.json")) == plan
    assert plan["smallest_ratio"] == smallest_ratio(100, plan["likes"])  # a hundred posts an arm
    assert (Path("adapters/mine/field/key.json").stat().st_mode & 0o077) == 0


@pytest.mark.parametrize(
    "arguments, name", [(["--posts", "3"], "POSTS"), (["--posts", "50", "--hours", "-1"], "HOURS")]
)
def test_a_plan_out_of_bounds_gets_a_sentence_and_leaves_nothing(project, arguments, name):
    done = command(*arguments)
    assert done.stderr.startswith(f"error: {name}: ")
    assert not (project / "adapters").exists()


@pytest.mark.parametrize("key, value", [("n_posts", 40), ("hours", 1), ("secret_sha256", "0" * 64)])
def test_a_plan_that_was_changed_is_refused_by_every_command(project, key, value):
    log = begun()
    log.draw("a tweet")
    path = Path("adapters/mine/field/plan.json")
    write_json(path, read_json(path) | {key: value})
    for done in (command(TWEET="another"), command("--import", "x", script="field_counts")):
        assert "was changed after" in done.stderr
        assert done.returncode == 1
    assert len(read_dicts(log.path)) == 2


def test_another_prompt_than_planned_writes_no_draft(project):
    begun()
    path = Path("configs/train-mine.yaml")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"prompt": "Reply: {tweet}"}))
    done = command(TWEET="a tweet about bikes")
    assert "planned with another prompt" in done.stderr


@pytest.mark.parametrize("what", ["base", "sampling"])
def test_another_base_or_sampling_than_planned_is_another_writer(project, what):
    begun()
    path = Path("configs/eval-quick.yaml")
    config = json.loads(path.read_text())
    if what == "base":
        config["engine"]["openai"]["base"]["model"] = "another-base"
    else:
        config["sampling"]["temperature"] = 0.3
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match="planned with another " + {"base": "weights"}.get(what, what)):
        refuse_other_writer(evaluation(), read_plan(folder_of(evaluation())))


def test_a_key_that_is_not_the_plan_s_tells_no_arm(project):
    log = begun()
    write_json(log.path.with_name("key.json"), {"secret": "1" * 64})
    with pytest.raises(UserError, match="is not the key that the plan was written with"):
        secret_of(log.path.parent, log.plan)


# --- drawing -------------------------------------------------------------------------------------------


def test_a_draft_is_shown_blind_and_the_same_tweet_gets_the_same_draft_again(project, stub):
    command("--posts", "20")
    first = command(TWEET="My bike broke today https://x.com/you/status/1861400000000000000")
    again = command(TWEET="My bike broke  today")
    assert first.returncode == again.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    assert "draft 1 (" in first.stdout
    log = (project / "adapters/mine/field/log.jsonl").read_text()
    assert len(re.findall('"event": "draw"', log)) == 1
    # The stub's replies name their model; what the program itself says and keeps does not.
    said = re.sub(r"(base|tuned)-model says", "", first.stdout + log)
    assert not re.search(r"\b(tuned|base)\b", said)


def test_arms_follow_the_plans_allocation(project):
    log = begun()
    arms = arms_of(log)
    said = {n: command(TWEET=f"tweet of day {n}").stdout for n in range(1, 6)}
    assert all(f"{arms[n]}-model says" in text for n, text in said.items())


def test_a_draw_whose_command_was_killed_is_answered_by_its_own_arm_later(project):
    log = begun()
    log.draw("My bike broke")  # killed before the model had answered
    log.draw("Another tweet")
    done = command(TWEET="My bike broke")
    assert "draft 1 (" in done.stdout
    assert f"{arms_of(log)[1]}-model says" in done.stdout


def test_two_commands_at_once_draw_two_numbers(project):
    log = begun(100)
    threads = [
        threading.Thread(target=lambda k=k: [log.draw(f"tweet {k} {n}") for n in range(10)]) for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(log.drafts()) == list(range(1, 41))


def test_hostile_tweets_act_nowhere(project):
    command("--posts", "20")
    done = command(TWEET=HOSTILE)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout and "\u202e" not in done.stdout
    assert not list(project.rglob("owned"))


def test_make_passes_a_tweet_on_as_it_is(tmp_path):
    """$(shell ...) in a pasted tweet is text for make, and `...` text for the shell."""
    (tmp_path / "Makefile").symlink_to(ROOT / "Makefile")
    for name in ("configs", "scripts", "lib"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/setup.stamp").touch()
    (tmp_path / "python").write_text('#!/bin/sh\ncase $2 in *field*) printf "%s" "$TWEET" > said ;; esac\n')
    (tmp_path / "python").chmod(0o755)
    tweet = "5$ $(shell touch owned) `touch owned` \"quoted\" 'twice' $HOME #tag"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    for line, more in ((["TWEET=" + tweet], {}), ([], {"TWEET": tweet})):
        done = subprocess.run(
            ["make", "PYTHON=./python", "RUN=tiny", "field", *line],
            cwd=tmp_path,
            env={**environment, **more},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "said").read_text() == tweet
    assert not (tmp_path / "owned").exists()


def test_two_tweets_of_the_same_words_are_two_where_their_addresses_say_so(project):
    log = begun()
    assert log.draw("gm", "1861400000000000001").number == 1
    assert log.draw("gm", "1861400000000000002").number == 2
    assert log.draw("gm", "1861400000000000001").number == log.draw("gm").number == 1


def test_an_empty_draft_is_discarded_and_counted_and_its_number_is_spent(project):
    log = begun()
    log.draw("one")
    assert log.write(1, "").discarded == "empty"
    assert log.draw("two").number == 2


def test_no_more_drafts_are_drawn_than_posts_are_planned(project):
    log = begun()
    for n in range(20):
        log.draw(f"tweet {n}")
    with pytest.raises(UserError, match="20 of them wait"):
        log.draw("one more")
    log.discard(3, "off topic")
    assert log.draw("one more").number == 21


# --- posting -------------------------------------------------------------------------------------------


def test_what_was_posted_is_recorded_once_without_the_handle(project):
    log = begun()
    log.draw("My bike", "1861400000000000000")
    log.write(1, "a reply")
    done = command(POSTED=link(1) + "?s=20")
    assert "posted: https://x.com/i/status/" in done.stdout, done.stderr
    assert "/me/" not in log.path.read_text()
    assert "was posted before" in command("--draft", "1", POSTED=link(2)).stderr
    log.draw("Another")
    assert log.drafts()[2].drawn_at > datetime.now(UTC) - timedelta(minutes=1)
    for wrong, said in (
        (link(7, datetime.now(UTC) - timedelta(minutes=4)), "cannot be its reply"),
        (link(7, datetime.now(UTC) + timedelta(minutes=4)), "cannot be its reply"),
        (link(1, time_of(log.drafts()[1].post_id)), "recorded already"),
        ("https://x.com/a/status/1861400000000000000", "address of the tweet"),
        (link(5, datetime.now(UTC) - timedelta(days=2)), "cannot be its reply"),
        (link(5, datetime.now(UTC) + timedelta(days=2)), "cannot be its reply"),
        ("https://example.com/a/status/1861400000000000000", "no address of a post"),
        ("nonsense", "no address of a post"),
    ):
        if said == "recorded already":
            wrong = f"https://x.com/me/status/{log.drafts()[1].post_id}"
        with pytest.raises(UserError, match=said):
            log.post(2, wrong)
    log.post(2, link(7, datetime.now(UTC) - timedelta(minutes=1)))  # the clocks differ by so much
    log.draw("A third")
    log.post(3, link(7, datetime.now(UTC) + timedelta(minutes=1)))


def test_which_draft_was_posted_has_to_be_said_where_several_wait(project):
    log = begun()
    log.draw("one")
    log.draw("two")
    assert "wait for their post: 1, 2. Say it: DRAFT=<number>" in command(POSTED=link()).stderr
    done = command("--draft", "2", DISCARD="off topic")
    assert done.returncode == 0, done.stderr
    assert log.drafts()[2].discarded == "off topic"
    assert command(POSTED=link()).returncode == 0
    assert log.drafts()[1].post_id


@pytest.mark.parametrize(
    "text, words, post_id",
    [
        ("hello https://x.com/a/status/1861400000000000001?s=20", "hello", "1861400000000000001"),
        ("https://twitter.com/i/web/status/1861400000000000001", "", "1861400000000000001"),
        ("https://mobile.twitter.com/a/status/1861400000000000001", "", "1861400000000000001"),
        (
            "x.com/a/status/1861400000000000001 x.com/b/statuses/1861400000000000002",
            "",
            "1861400000000000002",
        ),
        ("x.com/a_b/status/1861400000000000001 so true", "so true", "1861400000000000001"),
        (
            "see https://example.com/status/1861400000000000001",
            "see https://example.com/status/1861400000000000001",
            None,
        ),
    ],
)
def test_a_tweet_may_come_with_its_address(text, words, post_id):
    assert post_in(text) == (words, post_id)


def test_what_forget_removed_does_not_move_the_other_arms(project):
    log = begun()
    for n in range(1, 5):
        log.draw(f"tweet {n}", f"186140000000000000{n}")
    lines = [
        line for line in log.path.read_text().splitlines() if "tweet 4" not in line and "tweet 2" not in line
    ]
    log.path.write_text("\n".join(lines) + "\n")
    assert sorted(log.drafts()) == [1, 3]
    assert log.draw("another").number == 4


# --- counting ------------------------------------------------------------------------------------------


def test_nothing_about_the_arms_is_told_before_all_planned_posts_are_counted(project):
    log = begun()
    post_all(log, 19)
    path = likes_file(
        project / "likes.jsonl", log, lambda draft: 9 if arms_of(log)[draft.number] == "tuned" else 0
    )
    done = command("--import", str(path), script="field_counts")
    assert "19 new counts" in done.stdout and "19 of 20 replies posted" in done.stdout
    assert not re.search(r"tuned|base|ratio|p =", done.stdout)
    assert not (log.path.parent / "report.json").exists()
    log.draw("the last one")
    log.write(20, "a reply")
    log.post(20, link(20))
    done = command("--import", str(path), script="field_counts")
    assert "1 of 20 posts have no likes" in done.stderr and done.returncode == 1
    assert not (log.path.parent / "report.json").exists()
    done = command("--import", str(path), "--gone", script="field_counts")
    assert done.returncode == 0, done.stderr
    report = FieldReport.model_validate_json((log.path.parent / "report.json").read_text())
    assert sum(report.gone.values()) == 1 and sum(report.n.values()) == 19
    assert report.verdict == "more"
    assert "1 posts have no count" in done.stdout


def test_likes_count_only_when_they_were_taken_late_enough(project):
    log = begun(hours=72)
    post_all(log, 20)
    path = likes_file(project / "likes.jsonl", log, lambda draft: 3)
    done = command("--import", str(path), script="field_counts")
    assert "20 new counts" in done.stdout
    assert re.search(r"next: make field RUN=mine IMPORT=<file of likes> after 20", done.stdout)
    now = standing(log)
    assert (now.counts, now.countable, len(now.uncounted)) == ({}, [], 20)  # and none is bought yet
    assert not (log.path.parent / "report.json").exists()


def test_the_first_count_in_time_decides_and_a_second_import_of_the_same_adds_nothing(project):
    log = begun()
    post_all(log, 20)
    counts, _ = read_counts(likes_file(project / "likes.jsonl", log, lambda draft: 3))
    assert (take_in(log, counts), take_in(log, counts)) == (20, 0)
    later = [replace(one, likes=50, at=one.at + timedelta(hours=1)) for one in counts]
    assert take_in(log, later) == 20
    assert {line.likes for line in standing(log).counts.values()} == {3}


def test_a_post_with_other_spaces_is_its_draft_and_one_with_other_words_is_edited(project):
    log = begun()
    post_all(log, 20)
    counts, _ = read_counts(likes_file(project / "likes.jsonl", log, lambda draft: 3))
    texts = [counts[0].text.replace(" ", "  "), counts[1].text + " indeed", None]
    take_in(log, [replace(one, text=text) for one, text in zip(counts, texts, strict=False)])
    assert [standing(log).counts[one.id].edited for one in counts[:3]] == [False, True, None]


def test_the_week_of_a_post_is_that_in_which_it_was_posted():
    monday = datetime(2026, 11, 23, 1, tzinfo=UTC)
    draft = Draft(1, monday - timedelta(hours=2), "a tweet", None, posted_at=monday)
    assert (_week(draft), _week(replace(draft, posted_at=None))) == ("2026-W48", "2026-W47")


def test_a_result_that_was_told_stays(project):
    log = begun()
    post_all(log, 20)
    path = likes_file(project / "likes.jsonl", log, lambda draft: draft.number % 4)
    assert command("--import", str(path), script="field_counts").returncode == 0
    told = (log.path.parent / "report.json").read_bytes()
    likes_file(path, log, lambda draft: 100)
    assert "it stays" in command("--import", str(path), script="field_counts").stderr
    assert (log.path.parent / "report.json").read_bytes() == told
    assert standing(log).next_step() == "next: read adapters/mine/field/report.html"


def test_apify_is_priced_asked_bought_once_and_in_the_account(project):
    (project / "configs/data-small.yaml").write_text("collect: {queries: [q], max_usd: 1}\n")
    log = begun()
    post_all(log, 20)

    def world(run_input):
        by_id = {link.rsplit("/", 1)[1]: 4 for link in run_input["startUrls"]}
        return [
            {"id": one, "url": f"https://x.com/i/status/{one}", "likeCount": n, "text": "t"}
            for one, n in by_id.items()
        ]

    with ApifyStub(world) as apify:
        money = {"APIFY_API_TOKEN": TOKEN, "APIFY_API_BASE_URL": apify.url}
        done = command("--import", "apify", script="field_counts", **money)
        assert "Likes and views of 20 posts from apidojo/tweet-scraper: at most $0.0200" in done.stderr
        assert apify.posts == 0
        done = command("--import", "apify", script="field_counts", YES="1", **money)
        assert done.returncode == 0, done.stderr
        assert "No difference in likes is shown" in done.stdout
        assert apify.posts == 1
        command("--import", "apify", script="field_counts", YES="1", **money)
        assert apify.posts == 1
        (cost,) = costs(project, {})
        assert (cost.step, cost.name, cost.usd) == (
            "collect counts",
            "mine/field",
            pytest.approx(apify.billed_usd()),
        )


def test_attrition_and_edits_are_reported_by_arm(project):
    log = begun()
    arms = arms_of(log)
    n_posted = number = 0
    while n_posted < 20:
        number += 1
        log.draw(f"tweet {number}")
        log.write(number, f"a reply to {number}")
        if arms[number] == "base" and number < 30:
            log.discard(number, "dull")
        else:
            log.post(number, link(number))
            n_posted += 1
    path = likes_file(project / "likes.jsonl", log, lambda draft: draft.number % 5, fullText="my own words")
    done = command("--import", str(path), script="field_counts")
    report = FieldReport.model_validate_json((log.path.parent / "report.json").read_text())
    assert report.left_out["base"]["dull"] >= 8 and report.left_out["tuned"] == {}
    assert report.left_out_p < 0.05 and report.plan_sha256 == content_hash(log.path.with_name("plan.json"))
    assert sum(report.edited.values()) == 20
    assert "left out more often" in done.stdout and "your pen" in done.stdout
    page = (log.path.parent / "report.html").read_text()
    assert "not posted: dull" in page and report.sentence in page


FOUND = {
    "n": {"base": 100, "tuned": 90}, "mean_likes": {"base": 2.0, "tuned": 3.5}, "p": 0.01, "verdict": "more",
    "ratio": 1.75, "ratio_ci95": (1.2, 2.6), "per_view": None, "per_view_ci95": None,
    "left_out_p": 0.5, "gone": {"base": 0, "tuned": 0}, "edited": {"base": 0, "tuned": 0},
}  # fmt: skip


def test_the_sentence_names_each_arm_s_own_likes(project):
    said = sentence(FOUND, begun().plan)
    assert said.startswith(
        "Replies by the tuned model got more likes than those by the base: 3.50 a reply on 90 "
    )
    assert "posts against 2.00 on 100, 1.75 times as many (95 % interval 1.20 to 2.60)" in said
    assert "got fewer likes" in sentence(FOUND | {"verdict": "fewer"}, read_plan(folder_of(evaluation())))


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        ({}, None),
        ({"left_out_p": 0.09}, "left out more often"),
        ({"left_out_p": 0.1}, None),
        ({"gone": {"base": 1, "tuned": 2}}, "3 posts have no count: base 1, tuned 2"),
        ({"edited": {"base": 10, "tuned": 9}}, None),
        ({"edited": {"base": 10, "tuned": 10}}, "20 posts are not their draft word for word"),
        ({"ratio_ci95": (1.0, 2.6)}, "The interval of the ratio holds 1"),
        ({"ratio_ci95": (0.9, 2.6), "verdict": "not shown"}, None),
        ({"per_view": 1.2, "per_view_ci95": (0.9, 1.5)}, "Per view no difference is shown"),
        ({"per_view": 1.2, "per_view_ci95": (0.9, 1.5), "verdict": "not shown"}, None),
        ({"per_view": 1.2, "per_view_ci95": (1.1, 1.5)}, None),
    ],
)
def test_each_doubt_has_its_bound(change, doubt):
    found = doubts(FOUND | change)
    assert len(found) == (doubt is not None) and all(doubt in said for said in found)


# --- the talk ------------------------------------------------------------------------------------------


def drafts_of(log):
    """Drafts whose engine counts how often it is asked."""
    asked = []

    def answer(arm, turns, candidate=0):
        asked.append(arm)
        yield 0, Generated("a reply", 3, 0.1)

    return Drafts(evaluation(), log.plan, log, lambda: Engine("e", "nf4", 1, answer)), asked


def test_a_talk_keeps_the_reason_of_a_discard_and_takes_no_word_for_one(project):
    log = begun()
    drafts, asked = drafts_of(log)
    lines = ["first tweet", ".", "don't know", "D too dull ", "second", "tweet", ".", "", "q"]
    said = []

    def ask(question):
        if not lines:
            raise EOFError
        return lines.pop(0)

    talk(drafts, ask, said.append, lambda: "standing")
    found = log.drafts()
    assert (found[1].discarded, found[2].tweet, found[2].is_open) == ("too dull", "second\ntweet", True)
    assert len(asked) == 2 and any("no address of a post" in line for line in said)
    assert drafts.of("second\ntweet") == found[2] and len(asked) == 2  # written once
    talk(drafts, ask, said.append, lambda: "standing")  # what was left open is asked about first
    assert said[-1].startswith("to: second")


def test_a_page_pasted_as_a_tweet_is_refused_and_280_characters_fit(project):
    drafts, _ = drafts_of(begun())
    with pytest.raises(UserError, match="That is 4,001 characters"):
        drafts.of("ab " * 1333 + "ab")
    assert drafts.of("ab " * 1333 + "a").number == 1
    draft = Draft(1, datetime.now(UTC), "a tweet", None, reply="w" * 280)
    assert "280 of 280 characters)" in shown(draft)
    assert "too long for X" in shown(replace(draft, reply="w" * 281))


# --- from end to end -----------------------------------------------------------------------------------


class Person:
    """Somebody at a terminal (a pty) who pastes tweets and addresses, until the process is killed."""

    def __init__(self):
        self.n = 0

    def sit_down(self, n_answers):
        child, terminal = pty.fork()
        if child == 0:
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb"}
            line = [sys.executable, "-m", "scripts.field", "--config", "configs/train-mine.yaml"]
            os.execve(sys.executable, [*line, "--eval", "configs/eval-quick.yaml"], environment)
        try:
            for _ in range(n_answers):
                if not (question := self.read_question(terminal)):
                    return
                self.n += 1
                os.write(terminal, self.answer(question).encode())
        finally:
            os.kill(child, signal.SIGKILL)  # in the middle of whatever it does
            os.waitpid(child, 0)
            os.close(terminal)

    def answer(self, question):
        if "address of your reply" not in question.splitlines()[-1]:
            return f"The tweet of line {self.n}\n.\n"
        return "d dull\n" if self.n % 23 == 0 else f"{link(self.n)}\n"

    @staticmethod
    def read_question(terminal):
        """All that is said up to the next question; empty at the end."""
        said = b""
        while not said.endswith(b"q ends): "):
            try:
                said += os.read(terminal, 65536)
            except OSError:
                return ""
        return said.decode()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_hundred_posts_run_end_to_end_through_the_commands_killed_and_resumed(project):
    assert command("--posts", "200", "--hours", "0").returncode == 0
    person, folder = Person(), Path("adapters/mine/field")
    sittings, seen = 0, {}
    while not standing(FieldLog(folder, read_plan(folder))).is_posted:
        person.sit_down(60 + 13 * sittings)
        sittings += 1
        drafts = FieldLog(folder, read_plan(folder)).drafts()
        assert all(drafts[n].reply == reply for n, reply in seen.items())  # never drawn or written again
        seen = {n: draft.reply for n, draft in drafts.items() if draft.reply is not None}
        assert sittings < 30
    assert sittings > 3
    log = FieldLog(folder, read_plan(folder))
    arms, rng = arms_of(log), np.random.default_rng(5)
    assert all(f"{arms[n]}-model says" in reply for n, reply in seen.items())
    path = likes_file(
        project / "likes.jsonl",
        log,
        lambda draft: int(rng.poisson(rng.gamma(0.5, (12 if arms[draft.number] == "tuned" else 4)))),
    )
    done = command("--import", str(path), script="field_counts")
    assert done.returncode == 0, done.stderr
    report = FieldReport.model_validate_json((folder / "report.json").read_text())
    assert sum(report.n.values()) == 200
    assert abs(report.n["base"] - report.n["tuned"]) <= 30
    assert report.verdict == "more" and report.ratio_ci95[0] < 3 < report.ratio_ci95[1]
    assert sum(report.left_out["base"].values()) + sum(report.left_out["tuned"].values()) > 0
    assert command().stdout.splitlines()[-1] == "next: read adapters/mine/field/report.html"


@pytest.mark.slow
def test_the_runs_own_model_writes_the_drafts_where_no_server_does(tiny_run):
    shutil.copy(ROOT / "configs/eval-offline.yaml", tiny_run / "configs/eval-offline.yaml")
    line = [sys.executable, "-m", "scripts.field", "--config", "configs/train-tiny.yaml"]
    line += ["--eval", "configs/eval-offline.yaml"]

    def run(*more, **environment):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        return subprocess.run([*line, *more], env=environment, capture_output=True, text=True, timeout=200)

    assert run("--posts", "20").returncode == 0
    done = run(TWEET="I finally mended my bike")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("draft 1 (", "draft 1 came out empty"))  # the toy may have no word for it
    assert done.stdout.splitlines()[-1] == "next: make field RUN=tiny"
