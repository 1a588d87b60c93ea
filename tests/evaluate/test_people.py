"""People as judges: a page that gives nothing away, answers that are neither lost nor counted twice, the same
statistics.
"""

import csv
import html
import io
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lib.base.errors import UserError
from lib.base.files import append_line, read_dicts, read_json, read_jsonl, write_json, write_jsonl
from lib.base.schema import Judgment, Reply, TestPrompt
from lib.base.seals import damage
from lib.base.settings import EvalConfig, TrainConfig
from lib.evaluate.asking import named, taken_in, written
from lib.evaluate.evaluation import Evaluation
from lib.evaluate.findings import Files, gather
from lib.evaluate.page import page as report_page
from lib.evaluate.people_answers import import_files, import_votes
from lib.evaluate.people_page import Item, cell, make_items, read_key, write_files
from lib.evaluate.people_records import People
from lib.evaluate.people_report import _raters, human_report, sentence, take_in
from lib.evidence.outcomes import outcomes
from lib.evidence.secondary import agreement
from lib.evidence.stats import compare
from lib.evidence.trust import trust
from lib.judge.comparisons import Comparison, Verdict, judgment_of
from tests.eval_data import prompt, write_configs, write_data

ROOT = Path(__file__).parents[2]
N = 12
HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> "
    "<!-- **md** \u2028 &amp; \u202eback"
)


def reply(number, system, words):
    values = {"engine": "transformers", "quantization": "fp32", "seed": 17, "tokens": 5, "seconds": 0.1}
    return Reply(tweet_id=f"{5000 + number}", system=system, reply=words, **values)


def make_evaluation(folder, n=N, words=None):
    """A finished run `mine` with replies of base and tuned to n tweets. words: (number, system) -> reply."""
    write_data(folder, n)
    write_configs(folder)
    said = words or (
        lambda number, system: (
            f"a reply number {number} with {'fewer' if system == 'base' else 'many more'} words"
        )
    )
    replies = [
        reply(number, system, said(number, system)) for number in range(n) for system in ("base", "tuned")
    ]
    write_jsonl(folder / "adapters/mine/eval/quick/replies.jsonl", replies)
    write_json(folder / "adapters/mine/manifest.json", {"adapter_sha256": "f" * 64})
    config = TrainConfig.model_validate(json.loads((folder / "configs/train-mine.yaml").read_text()))
    return Evaluation("mine", config, EvalConfig(), Path("adapters/mine/eval/quick"))


@pytest.fixture
def evaluation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_evaluation(tmp_path)


def judge_says(evaluation, verdicts):
    rows = []
    for number, verdict in enumerate(verdicts):
        for order in ("ab", "ba"):
            shown = Comparison(f"{5000 + number}", "tweet", "tuned", "base", "x", "y", order)
            rows.append(
                judgment_of(
                    shown,
                    Verdict(verdict, {"tuned": {"e": 6.0}, "base": {"e": 5.0}}),
                    "judge",
                    f"{number}{order}",
                )
            )
    write_jsonl(evaluation.folder / "judgments.jsonl", rows)


def choice_for(item, system):
    return "A" if item.left == system else "B"


def write_answers(path, rater, choices):
    """choices: item id -> choice."""
    rows = [f"{rater},{item},{choice}" for item, choice in choices.items()]
    path.write_text("\n".join(["rater,item,choice", *rows]) + "\n")
    return path


def command(*more, module="scripts.human_eval"):
    line = [
        sys.executable,
        "-m",
        module,
        "--config",
        "configs/train-mine.yaml",
        "--eval",
        "configs/eval-quick.yaml",
        *more,
    ]
    return subprocess.run(line, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)


# --- what is handed out --------------------------------------------------------------------------------


def test_the_page_and_the_csv_do_not_say_which_system_wrote_what(evaluation):
    folder = write_files(evaluation, make_items(evaluation))
    key = read_key(folder)
    assert {item.left for item in key.values()} == {"tuned", "base"}
    for name in ("page.html", "items.csv"):
        shown = (folder / name).read_text().replace("base-uri 'none'", "")
        assert not re.search(r"tuned|\bbase\b|500\d|adapter|ffff", shown), name
        assert all(item.id in shown for item in key.values())


def test_sides_and_sequence_are_drawn_by_hash_and_stay(evaluation):
    first, again = make_items(evaluation), make_items(evaluation)
    assert first == again
    assert [item.tweet_id for item in first] != sorted(item.tweet_id for item in first)
    assert make_items(evaluation, 5) == first[:5]


def test_another_adapter_draws_other_sides_so_that_the_page_alone_cannot_be_solved(evaluation):
    before = {item.id: item.left for item in make_items(evaluation)}
    write_json(Path("adapters/mine/manifest.json"), {"adapter_sha256": "e" * 64})
    after = {item.id: item.left for item in make_items(evaluation)}
    assert before.keys() == after.keys()
    assert before != after


def test_a_tweet_without_both_replies_is_not_asked(evaluation, tmp_path):
    make_evaluation(
        tmp_path,
        words=lambda number, system: (
            "" if (number, system) == (3, "tuned") else "\u200b" if number == 4 else f"text {system}"
        ),
    )
    assert len(make_items(evaluation)) == N - 2
    make_evaluation(tmp_path, words=lambda number, system: "")
    with pytest.raises(UserError, match="no tweet that base and tuned both answered"):
        make_items(evaluation)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"])
def test_no_cell_of_the_csv_is_a_formula(text, evaluation, tmp_path):
    assert cell(text) == "'" + text
    make_evaluation(tmp_path, words=lambda number, system: text + system)
    folder = write_files(evaluation, make_items(evaluation))
    rows = list(csv.DictReader(io.StringIO((folder / "items.csv").read_text(), newline="")))
    assert len(rows) == N
    assert not any(value.startswith(tuple("=+-@\t\r＝")) for row in rows for value in row.values())
    assert cell("fine = yes") == "fine = yes"


def test_items_of_an_earlier_page_stay_in_the_key(evaluation, tmp_path):
    old = read_key(write_files(evaluation, make_items(evaluation)))
    make_evaluation(tmp_path, words=lambda number, system: f"new {number} {system}")
    new = read_key(write_files(evaluation, make_items(evaluation)))
    assert old.keys() < new.keys()
    assert len(new) == 2 * N


def test_an_item_is_named_by_its_texts_alone_and_shows_what_is_not_seen(evaluation, tmp_path):
    said = {"base": "one\u202e", "tuned": "two"}
    make_evaluation(tmp_path, words=lambda number, system: f"{said[system]} {number}")
    before = {item.id for item in make_items(evaluation)}
    said = {"tuned": "one\u202e", "base": "two"}
    make_evaluation(tmp_path, words=lambda number, system: f"{said[system]} {number}")
    assert {item.id for item in make_items(evaluation)} == before  # which reply is whose is not in it
    shown = Item("i1", "1", "a\u202eb", {"tuned": "c\u200bd", "base": "e\x07f"}, "tuned").shown
    assert not any(character in text for text in shown.values() for character in "\u202e\u200b\x07")


def test_the_command_names_the_evaluation_where_it_is_not_the_run_s_own(evaluation):
    assert named(evaluation) == "mine"
    other = replace(evaluation, folder=evaluation.folder.with_name("claude"))
    assert named(other) == "mine EVAL=claude"
    with pytest.raises(UserError, match=r"make replies RUN=mine EVAL=claude` first"):
        written(other, None)
    with pytest.raises(UserError, match="--limit 0: ask about one tweet or more"):
        written(evaluation, 0)


# --- what comes back -----------------------------------------------------------------------------------


def test_an_answer_becomes_a_judgment_of_people_from_the_side_of_tuned(evaluation, tmp_path):
    items = {item.id: item for item in make_items(evaluation)}
    one, two, three, four, *_ = items.values()
    path = write_answers(
        tmp_path / "ann.csv",
        "ann",
        {
            one.id: choice_for(one, "tuned"),
            two.id: choice_for(two, "base"),
            three.id: "tie",
            four.id: "both_bad",
        },
    )
    judgments = import_files([path], items, []).judgments
    assert [row.verdict for row in judgments] == [0.5, -0.5, 0, 0]
    assert [row.scores["tuned"]["preferred"] for row in judgments] == [1, 0, 0.5, 0]
    assert [row.scores["base"]["preferred"] for row in judgments] == [0, 1, 0.5, 0]
    assert {(row.model, row.raw, row.a, row.b) for row in judgments} == {("people", "ann", "tuned", "base")}
    assert [row.order for row in judgments] == [
        "ab" if item.left == "tuned" else "ba" for item in (one, two, three, four)
    ]


@pytest.mark.parametrize(
    "name, content",
    [
        ("a.csv", "rater,item,choice\nann,{0},A\nann,{1},tie\n"),
        ("excel.csv", "\ufeffrater;item;choice\r\nann;{0};A\r\nann;{1};tie\r\n"),
        (
            "mturk.csv",
            '"HITId","WorkerId","Input.item","Answer.choice"\n"h","ann","{0}","1"\n"h","ann","{1}","0"\n',
        ),
        ("tabs.csv", "rater\titem\tchoice\nann\t{0}\tA\nann\t{1}\tTIE\n"),
        (
            "a.json",
            (
                '[{{"rater": "ann", "item": "{0}", "choice": "A"}},\n {{"rater": "ann", "item": "{1}", '
                '"choice": "tie"}}]'
            ),
        ),
        (
            "a.jsonl",
            (
                '{{"rater": "ann", "item": "{0}", "choice": "A"}}\n\n{{"rater": "ann", "item": "{1}", '
                '"choice": '
                '"tie"}}'
            ),
        ),
    ],
)
def test_what_the_page_and_crowd_platforms_write_is_read(evaluation, tmp_path, name, content):
    items = {item.id: item for item in make_items(evaluation)}
    path = tmp_path / name
    path.write_bytes(content.format(*items).encode())
    found = import_files([path], items, [])
    assert [(row.raw, row.usage["choice"]) for row in found.judgments] == [("ann", "A"), ("ann", "tie")]
    assert found.rejected == []


def test_lines_that_cannot_count_are_named_and_take_no_other_line_with_them(evaluation, tmp_path):
    items = {item.id: item for item in make_items(evaluation)}
    one, two, *_ = items
    path = tmp_path / "bob.csv"
    path.write_text(
        f"rater,item,choice\nbob,{one},A\nbob,nope,A\nbob,{two},C\nbob,{two},b\nbob,{one},B\n"
        f",{two},A\nbob,{two}\nbob,{two},A,x\nbob,{two},B\n"
    )
    found = import_files([path], items, [])
    assert [(row.usage["item"], row.usage["choice"]) for row in found.judgments] == [(one, "A"), (two, "B")]
    assert [row["where"] for row in found.rejected] == [
        f"{path}:{number}" for number in (3, 4, 5, 6, 7, 8, 9)
    ]
    said = [row["reason"] for row in found.rejected]
    assert all(sentence.startswith(f"{path}:") for sentence in said)
    assert "item 'nope' is not in key.json" in said[0]
    assert "choice 'C' was not offered. Write A, B, tie or both_bad." in said[1]
    assert "choice 'b' was not offered" in said[2]  # the page's key for both bad, or a small B: nobody knows
    assert f"bob has answered item {one} before (A, {path}:2)" in said[3]
    assert "rater: expected a name" in said[4]
    assert "2 cells where the header has 3" in said[5]
    assert "4 cells where the header has 3" in said[6]


def test_a_name_may_have_64_characters_and_loses_the_apostrophe_of_a_spreadsheet(evaluation, tmp_path):
    items = {item.id: item for item in make_items(evaluation)}
    one, path = next(iter(items)), tmp_path / "a.csv"
    names = ["x" * 64, "x" * 65, "'=ann", "'bob"]
    path.write_text("\n".join(["rater,item,choice", *(f"{name},{one},A" for name in names)]))
    found = import_files([path], items, [])
    assert [row.raw for row in found.judgments] == ["x" * 64, "=ann", "'bob"]
    assert [row["where"] for row in found.rejected] == [f"{path}:3"]


def test_the_same_line_twice_in_one_file_is_told(evaluation, tmp_path):
    items = {item.id: item for item in make_items(evaluation)}
    one = next(iter(items))
    path = tmp_path / "a.csv"
    path.write_text(f"rater,item,choice\nann,{one},A\nann,{one},A\n")
    found = import_files([path], items, [])
    assert (found.n_new, found.n_known, [row["where"] for row in found.rejected]) == (1, 0, [f"{path}:3"])


@pytest.mark.parametrize(
    "name, content, line",
    [
        (
            "a.json",
            (
                '[\n{{"rater": "ann", "item": "{0}", "choice": "A"}},\n"what",\n{{"rater": "ann",\n "item": '
                '"x", '
                '"choice": "A"}}]'
            ),
            (3, 4),
        ),
        ("a.jsonl", '{{"rater": "ann", "item": "{0}", "choice": "A"}}\n{{"rater": \n[1]', (2, 3)),
    ],
)
def test_json_that_cannot_count_is_named_by_its_line(evaluation, tmp_path, name, content, line):
    items = {item.id: item for item in make_items(evaluation)}
    path = tmp_path / name
    path.write_text(content.format(*items))
    found = import_files([path], items, [])
    assert len(found.judgments) == 1
    assert [row["where"] for row in found.rejected] == [f"{path}:{number}" for number in line]


@pytest.mark.parametrize(
    "name, content, says",
    [
        ("gone.csv", None, "does not exist"),
        ("other.csv", b"a,b\n1,2\n", "no column `item`"),
        ("latin.csv", "rater,item,choice\njosé,x,A\n".encode("latin-1"), "not UTF-8"),
        ("torn.json", b'[{"rater": "ann"', "not valid JSON"),
    ],
)
def test_a_file_that_is_none_gets_a_sentence(evaluation, tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=re.escape(says)):
        import_files([tmp_path / name], {item.id: item for item in make_items(evaluation)}, [])


def test_the_same_file_again_adds_nothing_and_a_changed_mind_is_named(evaluation, tmp_path):
    items = {item.id: item for item in make_items(evaluation)}
    first = write_answers(tmp_path / "part.csv", "ann", dict.fromkeys(list(items)[:3], "A"))
    earlier = import_files([first], items, []).judgments
    whole = write_answers(tmp_path / "whole.csv", "ann", dict.fromkeys(items, "A") | {next(iter(items)): "B"})
    found = import_files([first, whole], items, earlier)
    assert (found.n_new, found.n_known, len(found.rejected), len(found.judgments)) == (N - 3, 5, 1, N)
    assert found.judgments[:3] == earlier


@pytest.mark.filterwarnings(
    "ignore:invalid value encountered"
)  # statsmodels: the interval of a kappa of constant labels
def test_people_get_the_statistics_of_every_other_judge(evaluation, tmp_path):
    items = {item.id: item for item in make_items(evaluation)}
    tuned = {name: choice_for(item, "tuned") for name, item in items.items()}
    base = {name: choice_for(item, "base") for name, item in items.items()}
    bob = {**tuned, **dict(list(base.items())[:4])}
    paths = [
        write_answers(tmp_path / "ann.csv", "ann", tuned),
        write_answers(tmp_path / "bob.csv", "bob", bob),
    ]
    judgments = import_files(paths, items, []).judgments
    judge_says(evaluation, [1, 1, 1, 1, 1, 1, 0, 0, 0, -1, -1, -1])
    report = human_report(evaluation, items, judgments)
    replies = {
        (item.tweet_id, system): text for item in items.values() for system, text in item.replies.items()
    }
    authors = {
        row.tweet_id: row.tweet_author
        for row in read_jsonl(evaluation.processed / "test_prompts.jsonl", TestPrompt)
    }
    expected = compare(outcomes(judgments, replies, authors, "tuned", "base")[0])
    assert report["comparison"] == expected.to_dict()
    assert (expected.wins, expected.ties, expected.losses) == (8, 4, 0)  # where the two disagree is a tie
    of_two = agreement([["tuned", "base" if n < 4 else "tuned"] for n in range(N)])
    assert report["agreement"]["raters"]["share"] == pytest.approx(8 / 12)
    assert report["agreement"]["raters"]["pairs"][0]["kappa"] == pytest.approx(of_two["kappa"])
    # Scott's pi: 4 of 24 labels are base, so chance alone agrees on 26 of 36.
    assert report["agreement"]["raters"]["kappa"] == pytest.approx((8 / 12 - 26 / 36) / (10 / 36))
    votes = report["agreement"]["judge"]["votes"]
    assert (votes["n"], votes["n_tweets"]) == (2 * N, N)
    tuned_won = {f"{5000 + number}" for number in range(6)}
    base_won = {f"{5000 + number}" for number in range(9, 12)}
    of_bob = [items[name].tweet_id in (base_won if n < 4 else tuned_won) for n, name in enumerate(items)]
    assert votes["share"] == pytest.approx((6 + sum(of_bob)) / 24)
    assert votes["ci95"][0] < votes["kappa"] < votes["ci95"][1]
    assert report["agreement"]["judge"]["n"] == N
    assert report["agreement"]["judge"]["kappa"] is not None
    assert report["raters"]["ann"]["n"] == N
    assert "People prefer tuned" in report["sentence"]
    assert "too few tweets to be sure" in report["sentence"]


def test_each_rater_s_share_of_a_is_of_the_decisive_answers(evaluation, tmp_path):
    """Who always presses one key shows, whichever system that is."""
    items = {item.id: item for item in make_items(evaluation)}
    choices = dict.fromkeys(items, "A") | dict.fromkeys(list(items)[:3], "tie")
    answers = import_files([write_answers(tmp_path / "a.csv", "ann", choices)], items, []).judgments
    found = _raters(answers)["ann"]
    assert (found["n"], found["ties"], found["first_chosen"]) == (N, 3, 1.0)


@pytest.mark.parametrize(
    ("ci95", "underpowered", "said"),
    [
        ((5.0, 40.0), False, "People prefer tuned: +20.0"),
        ((-40.0, -5.0), False, "People prefer base: +20.0"),
        ((-5.0, 40.0), False, "People do not tell tuned from base: +20.0"),
        ((5.0, 40.0), True, "; too few tweets to be sure."),
        ((-5.0, 40.0), True, "; underpowered, not equal."),
    ],
)
def test_the_people_s_sentence_follows_from_the_interval(ci95, underpowered, said):
    numbers = {"net_win": 20.0, "n": 60, "wins": 30, "ties": 12, "losses": 18, "mde": {"net_win": 21.0}}
    compared = numbers | {"ci95": ci95, "underpowered": underpowered}
    report = {"comparison": compared, "agreement": {"judge": None}, "raters": {"a": {}}, "n_answers": 60}
    assert said in sentence(report)


def test_an_import_says_what_was_new_and_seals_its_report(evaluation, tmp_path):
    items = {item.id: item for item in written(evaluation, None)[0]}
    path = write_answers(tmp_path / "a.csv", "ann", dict.fromkeys(list(items)[:5], "A"))
    assert taken_in(evaluation, [path])[0].startswith("human-eval: 5 new answers, 0 known ones, 0 rejected")
    said, problem = taken_in(evaluation, [path])
    assert said.startswith("human-eval: 0 new answers, 5 known ones, 0 rejected") and not problem
    assert said.splitlines()[-1].startswith("next: make eval RUN=mine ")
    report = evaluation.folder / "human" / "report.json"
    assert not damage(report)
    write_json(report, read_json(report) | {"n_answers": 99})
    assert damage(report)


def test_a_later_export_of_a_crowd_replaces_its_earlier_answers_and_no_others(evaluation, tmp_path):
    items = [item.id for item in written(evaluation, None)[0]]
    for rater, instead_of in (("ann", None), ("crowd-a", None), ("crowd-b", "crowd-")):
        found, _ = take_in(
            evaluation, [write_answers(tmp_path / "a.csv", rater, {items[0]: "A"})], instead_of
        )
    assert [row.raw for row in found.judgments] == ["ann", "crowd-b"]


def test_fifty_blind_votes_that_agree_beyond_chance_vouch_for_a_judge(evaluation, tmp_path):
    items = {item.id: item for item in make_items(evaluation)}
    judge_says(evaluation, [1] * 6 + [-1] * 6)
    liked = {item.id: "tuned" if int(item.tweet_id) < 5006 else "base" for item in items.values()}

    def trusted(n_raters, says):
        paths = [
            write_answers(
                tmp_path / f"{n}.csv", f"r{n}", {i: choice_for(item, says(n, i)) for i, item in items.items()}
            )
            for n in range(n_raters)
        ]
        report = human_report(evaluation, items, import_files(paths, items, []).judgments)
        votes = People.model_validate(report).agreement.judge.votes
        return votes.n, trust(None, votes).is_earned

    assert trusted(5, lambda n, item: liked[item]) == (60, True)
    assert trusted(4, lambda n, item: liked[item]) == (48, False)  # too few
    assert trusted(5, lambda n, item: "tuned") == (60, False)  # whatever the judge says
    assert trusted(5, lambda n, item: "base" if int(item[1:9], 16) % 2 else "tuned") == (60, False)


def test_answers_about_replies_that_have_changed_are_counted_apart(evaluation, tmp_path):
    items = {item.id: item for item in make_items(evaluation)}
    judgments = import_files(
        [write_answers(tmp_path / "a.csv", "ann", dict.fromkeys(items, "A"))], items, []
    ).judgments
    make_evaluation(tmp_path, words=lambda number, system: f"new {number} {system}")
    report = human_report(evaluation, {item.id: item for item in make_items(evaluation)}, judgments)
    assert (report["n_outdated"], report["n_answers"], report["comparison"]) == (N, 0, None)
    assert report["sentence"] == "No answers to this page yet."


def test_the_command_keeps_the_good_lines_and_ends_with_a_sentence(evaluation, tmp_path):
    done = command()
    assert done.returncode == 0, done.stderr
    items = read_key(evaluation.folder / "human")
    write_answers(tmp_path / "ann.csv", "ann", dict.fromkeys(items, "A") | {"nope": "A"})
    done = command("--import", "ann.csv")
    assert done.returncode == 1
    assert "error: ann.csv:14: item 'nope' is not in key.json" in done.stderr
    assert "Traceback" not in done.stderr
    human = evaluation.folder / "human"
    assert len(read_jsonl(human / "judgments.jsonl", Judgment)) == N
    assert [row["where"] for row in read_dicts(human / "rejected.jsonl")] == ["ann.csv:14"]
    assert read_json(human / "report.json")["n_rejected"] == 1
    assert command("--share", module="demo.human_app").stderr.startswith(
        "error: --share lets everyone who has the link answer. Set HUMAN_EVAL_PASSWORD"
    )


def test_answers_without_a_page_get_a_sentence(evaluation, tmp_path):
    write_answers(tmp_path / "ann.csv", "ann", {"x": "A"})
    done = command("--import", "ann.csv")
    assert (done.returncode, done.stderr) == (
        1,
        (
            "error: adapters/mine/eval/quick/human/key.json does not exist: no page was made here. Run `make "
            "human-eval` first.\n"
        ),
    )


# --- votes of the demo ---------------------------------------------------------------------------------


def vote(left="tuned", choice="left", seed=1, adapter="f" * 64, **changes):
    values = {
        "tweet": "hello",
        "base": "b" * 20,
        "tuned": "t" * 30,
        "left": left,
        "choice": choice,
        "at": "2026-11-23T06:00:00Z",
    }
    return values | {"run": "mine", "adapter_sha256": adapter, "seed": seed} | changes


def test_votes_of_the_demo_are_judgments_too(tmp_path):
    path = tmp_path / "votes.jsonl"
    for row in (
        vote(),
        vote(choice="right"),
        vote("base", "left"),
        vote(choice="tie"),
        vote(choice="both_bad"),
    ):
        append_line(path, row)
    assert [row.verdict for row in import_votes(path)] == [0.5, -0.5, -0.5, 0, 0]
    assert import_votes(path)[0].usage["chars"] == {"tuned": 30, "base": 20}
    append_line(path, vote(choice="up"))
    with pytest.raises(UserError, match=rf"{path}:6: choice"):
        import_votes(path)


def test_votes_on_this_adapter_are_reported_apart_from_the_page(evaluation, tmp_path):
    items = {item.id: item for item in make_items(evaluation)}
    path = tmp_path / "votes.jsonl"
    for row in (*(vote(seed=n) for n in range(6)), vote(adapter="0" * 64), vote(tweet="x", choice="right")):
        append_line(path, row)
    answers = write_answers(tmp_path / "ann.csv", "ann", dict.fromkeys(items, "tie"))
    found = import_files([path, answers], items, [])
    report = human_report(evaluation, items, found.judgments)
    assert (report["n_answers"], report["comparison"]["ties"]) == (N, N)
    assert (report["demo"]["n_votes"], report["demo"]["n_other_adapters"]) == (7, 1)
    assert (report["demo"]["comparison"]["wins"], report["demo"]["comparison"]["losses"]) == (6, 1)
    again = import_files([path], items, found.judgments)
    assert (again.n_new, again.n_known) == (0, 8)


# --- in the report -------------------------------------------------------------------------------------


def test_the_report_of_the_evaluation_shows_what_people_said(evaluation, tmp_path):
    judge_says(evaluation, [1.0] * N)
    for name, value in {
        "model_metrics": {},
        "calibration": {"status": "not calibrated", "n": 0, "baselines": {}, "sentence": "not calibrated"},
        "judgments.manifest": {"model": "judge"},
        "replies.manifest": {},
    }.items():
        write_json(evaluation.folder / f"{name}.json", value)
    items = {item.id: item for item in make_items(evaluation)}
    judgments = import_files(
        [write_answers(tmp_path / "a.csv", "<b>ann", dict.fromkeys(items, "A"))], items, []
    ).judgments
    files = Files.read(evaluation)
    report, steps = gather(files, {}, {})
    assert report.people is None
    assert "<h2>People</h2>" not in report_page(files, report, steps)
    write_json(evaluation.folder / "human" / "report.json", human_report(evaluation, items, judgments))
    report, steps = gather(files, {}, {})
    shown = report_page(files, report, steps)
    assert report.people.n_answers == N
    assert report.people.sentence in html.unescape(shown)
    assert "&lt;b&gt;ann" in shown
    assert "<b>ann" not in shown
    assert not report.people.outdated
    write_jsonl(
        evaluation.folder / "replies.jsonl",
        [reply(n, system, "new") for n in range(N) for system in ("base", "tuned")],
    )
    assert gather(Files.read(evaluation), {}, {})[0].people.outdated


# --- in a browser --------------------------------------------------------------------------------------


def open_page(browser, url, width=1000, dark=False):
    context = browser.new_context(
        viewport={"width": width, "height": 740},
        color_scheme="dark" if dark else "light",
        accept_downloads=True,
    )
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.trouble = []
    page.on(
        "request",
        lambda request: (
            page.trouble.append(request.url) if not request.url.startswith((url, "blob:", "data:")) else None
        ),
    )
    page.on("pageerror", lambda error: page.trouble.append(str(error)))
    page.on("console", lambda message: page.trouble.append(message.text) if message.type == "error" else None)
    page.goto(url)
    return page


def begin(page, rater):
    page.fill("#rater", rater)
    page.keyboard.press("Enter")


def download(page, button, folder):
    with page.expect_download() as waiting:
        page.click(button)
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_answers_by_keys_survive_a_reload_and_the_export_imports(evaluation, tmp_path, browser):
    items = make_items(evaluation)
    folder = write_files(evaluation, items)
    url = (folder / "page.html").resolve().as_uri()
    page = open_page(browser, url)
    assert page.title() == "Which reply is better?"
    begin(page, "Ann 1")
    shown = [page.inner_text("#reply_a")]
    assert shown[0] == items[0].shown["reply_a"]
    for key in "120b":
        page.keyboard.press(key)
    assert page.inner_text("#count") == f"5 of {N}"
    page.reload()
    assert page.inner_text("#count") == f"5 of {N}"
    assert page.inner_text("#who") == "4 answered"
    page.keyboard.press("ArrowLeft")
    assert page.locator("[data-choice=both_bad]").get_attribute("class") == "chosen"
    page.keyboard.press("1")  # another mind
    for _ in range(N - 4):
        page.keyboard.press("2")
    assert page.inner_text("#thanks") == "Thank you. That was all."
    as_csv, as_json = download(page, "#csv", tmp_path), download(page, "#json", tmp_path)
    assert len(json.loads(as_json.read_text())) == N
    for path in (as_csv, as_json):
        found = import_files([path], read_key(folder), [])
        assert found.rejected == []
        assert [row.usage["choice"] for row in found.judgments] == ["A", "B", "tie", "A", *["B"] * (N - 4)]
        assert {row.raw for row in found.judgments} == {"Ann 1"}
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("#clear")
    assert page.locator("#start").is_visible()
    page.reload()
    assert page.locator("#start").is_visible()
    assert page.trouble == []


def test_no_text_of_a_tweet_acts_and_a_typed_name_is_no_answer(tmp_path, monkeypatch, browser):
    monkeypatch.chdir(tmp_path)
    evaluation = make_evaluation(tmp_path, words=lambda number, system: HOSTILE + system)
    write_jsonl(
        evaluation.processed / "test_prompts.jsonl",
        [prompt(n).model_copy(update={"tweet": HOSTILE}) for n in range(N)],
    )
    folder = write_files(evaluation, make_items(evaluation))
    page = open_page(browser, (folder / "page.html").resolve().as_uri())
    begin(page, "=b0b <i>2")
    assert page.inner_text("#count") == f"1 of {N}"
    assert page.inner_text("#tweet").startswith("</script><script>document.title='owned'</script>")
    assert "\u202e" not in page.inner_text("#reply_a")
    assert page.locator("#rate img, #rate script").count() == 0
    page.keyboard.press("1")
    page.click("#pause")
    path = download(page, "#csv", tmp_path)
    assert [row["rater"] for row in csv.DictReader(io.StringIO(path.read_text()))] == ["b0b i2"]
    assert page.title() == "Which reply is better?"
    assert page.trouble == []
    # What a browser would run if the page did hold foreign script: nothing.
    page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1'; "
        "document.body.append(s); }"
    )
    assert page.evaluate("window.ran") is None


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_and_in_the_dark_everything_fits_and_is_readable(tmp_path, monkeypatch, browser, dark):
    monkeypatch.chdir(tmp_path)
    evaluation = make_evaluation(tmp_path, words=lambda number, system: "x" * 280)
    folder = write_files(evaluation, make_items(evaluation))
    page = open_page(browser, (folder / "page.html").resolve().as_uri(), 360, dark)
    begin(page, "ann")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for choice in ("A", "B", "tie", "both_bad"):
        box = page.locator(f"[data-choice={choice}]").bounding_box()
        assert 0 <= box["x"] < box["x"] + box["width"] <= 360
        assert box["y"] + box["height"] <= 740
        assert box["height"] >= 40
    ink, paper = (
        sum(
            int(n)
            for n in re.findall(
                r"\d+", page.evaluate(f"getComputedStyle(document.querySelector('{of}')).{what}")
            )[:3]
        )
        for of, what in (("#reply_a", "color"), ("body", "backgroundColor"))
    )
    assert (ink - paper > 450) if dark else (paper - ink > 450)
    page.click("[data-choice=tie]")
    assert page.inner_text("#count") == f"2 of {N}"


def test_the_served_page_asks_the_same_and_its_answers_are_imported_at_the_end(evaluation, tmp_path, browser):
    line = [
        sys.executable,
        "-m",
        "demo.human_app",
        "--config",
        "configs/train-mine.yaml",
        "--eval",
        "configs/eval-quick.yaml",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*line, "--limit", "3"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a background shell hands down "ignored"
    )
    try:
        lines = iter(process.stdout.readline, "")
        url = next(found[0] for line in lines if (found := re.search(r"http://127\.0\.0\.1:\d+/", line)))
        page = open_page(browser, url)
        page.fill("#name input, #name textarea", "Ann")
        page.click("#begin")
        items = list(read_key(evaluation.folder / "human").values())
        asked = make_items(evaluation, 3)
        for number, key in enumerate("1b"):
            page.wait_for_selector(f"[data-item={asked[number].id}]")
            assert page.inner_text("#page .reply >> nth=0").endswith(asked[number].shown["reply_a"])
            page.wait_for_selector(f"#key-{key}")
            page.keyboard.press(key)
        page.wait_for_selector(f"[data-item={asked[2].id}]")
        assert not re.search(r"tuned|\bbase\b", page.inner_text("body"))
        assert len(items) == 3
        page.reload()  # the same name goes on where it was
        page.fill("#name input, #name textarea", "Ann")
        page.keyboard.press("Enter")
        page.wait_for_selector(f"[data-item={asked[2].id}]")
        page.click("#key-0")
        page.wait_for_selector("text=That was all.")
        assert page.trouble == []
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "3 new answers, 0 known ones, 0 rejected" in out
    judgments = read_jsonl(evaluation.folder / "human" / "judgments.jsonl", Judgment)
    assert [(row.raw, row.usage["choice"]) for row in judgments] == [
        ("Ann", "A"),
        ("Ann", "both_bad"),
        ("Ann", "tie"),
    ]
