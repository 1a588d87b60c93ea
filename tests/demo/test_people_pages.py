"""The pages that ask people, without a browser: what they show, keep and refuse."""

import json
import re
import threading
from types import SimpleNamespace

import pytest

from demo import crowd_app, human_app
from demo.human_app import Answers, rater_name, shown_pair
from demo.review_app import _Page
from demo.review_app import page as review_page
from lib.base.files import read_dicts
from lib.data.doubts import Doubtful
from lib.evaluate.crowd_log import Crowd, Visitor
from lib.evaluate.crowd_study import planned
from lib.evaluate.people_page import Item
from tests.data.test_review import a_review, pair

MARKUP = '<img src=x onerror="alert(1)"> & "quoted"'
ITEMS = [Item(f"i{n}", f"t{n}", MARKUP, {"base": MARKUP, "tuned": f"two {n}"}, "tuned") for n in range(6)]


def handlers(blocks):
    """The functions behind a page, by name."""
    return {fn.fn.__name__: fn.fn for fn in blocks.fns.values() if fn.fn}


# --- people who are asked for a vote -----------------------------------------------------------------


@pytest.mark.parametrize(
    "typed, name",
    [
        ("  Ann B. ", "Ann B."),
        ("=cmd|'/c'!A1", "cmdcA1"),
        ("-- ann", "ann"),
        ("<b>ann</b>", "bannb"),
        ("x" * 41, "x" * 40),
        ("Ünï_1", "Ünï_1"),
        ("\n", ""),
        (None, ""),
    ],
)
def test_the_name_of_a_rater_is_letters_and_digits_and_forty_at_most(typed, name):
    assert rater_name(typed) == name


def test_an_answer_counts_once_for_a_pair_that_exists_and_is_there_after_a_crash(tmp_path):
    path = tmp_path / "answers.jsonl"
    answers = Answers(ITEMS, path)
    for rater, item, choice in (
        ("ann", "i0", "A"),
        ("ann", "i0", "B"),
        ("ann", "nothing", "A"),
        ("bob", "i0", "tie"),
        ("ann", "i2", "B"),
    ):
        answers.give(rater, item, choice)
    with path.open("a") as handle:
        handle.write('{"rater": "ann", "item": "i1", "ch')  # killed in the middle of a line
    again = Answers(ITEMS, path)
    for one in (answers, again):
        assert [one.open_item(rater).id for rater in ("ann", "bob", "new")] == ["i1", "i1", "i0"]
        assert [one.n_given(rater) for rater in ("ann", "bob", "new")] == [2, 1, 0]
    again.give("ann", "i1", "A")
    rows = [(row["rater"], row["item"], row["choice"]) for row in read_dicts(path, torn_tail=True)]
    assert rows == [("ann", "i0", "A"), ("bob", "i0", "tie"), ("ann", "i2", "B"), ("ann", "i1", "A")]


def test_a_pair_is_shown_as_the_characters_it_is_with_its_id_and_a_share_of_all(tmp_path):
    answers = Answers(ITEMS, tmp_path / "answers.jsonl")
    answers.give("<i>ann", "i0", "A")
    shown = human_app.page(answers, "<i>ann")
    assert 'data-item="i1"' in shown and "1 of 6" in shown and "width:16.67%" in shown
    assert not re.search("<img|<i>", shown) and shown.count("&lt;img") == 2
    assert shown.index(">A<") < shown.index("two 1") < shown.index(">B<")  # tuned stands left
    assert "&quot;&gt;" in shown_pair('">', {"tweet": "a", "reply_a": "b", "reply_b": "c"})
    for item in ITEMS:
        answers.give("<i>ann", item.id, "tie")
    assert "That was all" in human_app.page(answers, "<i>ann") and answers.open_item("<i>ann") is None


def test_nobody_answers_without_a_name(tmp_path):
    answers = Answers(ITEMS, tmp_path / "answers.jsonl")
    act = handlers(human_app.build(answers))
    assert act["begin"]("<>")[0] == "" and "Please give a name" in act["begin"](" ")[1]
    rater, shown, start, keys = act["begin"](" ann ")
    assert (rater, start["visible"], keys["visible"]) == ("ann", False, True) and 'data-item="i0"' in shown
    act["clicked"]("i0", "")
    assert not answers.path.exists()
    assert 'data-item="i1"' in act["clicked"]("i0", "ann")[0]


# --- a crowd -----------------------------------------------------------------------------------------


@pytest.fixture
def crowd(tmp_path):
    study = planned("r", "e", ITEMS, 50, 2, 12.0, "company")
    return Crowd(study, ITEMS, tmp_path / "log.jsonl")


def address(crowd, key=None):
    return f"?key={key or crowd.study.key}&PROLIFIC_PID=abc1&STUDY_ID=s1&SESSION_ID=x1"


def test_the_crowd_is_told_its_work_time_and_pay_and_that_it_must_be_grown_up(crowd):
    said = " ".join(crowd_app.welcome(crowd).split())
    for words in (
        "5 posts",
        f"about {crowd.study.minutes} minutes",
        f"${crowd.study.reward_usd:.2f} through",
    ):
        assert words in said  # two pairs and three checks
    assert "more than 1 of them" in said and "18 or older" in said and "stop at any time" in said
    assert crowd.study.code not in said and not re.search("tuned|base", said)


def test_the_code_comes_after_the_last_pair_and_no_text_acts(crowd):
    crowd.begin(Visitor("p", "s1", "x1"))
    for n in range(5):
        shown = crowd_app.page(crowd, "p")
        assert f"{n} of 5" in shown and f"width:{20 * n:.2f}%" in shown
        assert crowd.study.code not in shown and "<img" not in shown
        crowd.give("p", crowd.open_pair("p")["item"], "A")
    last = crowd_app.page(crowd, "p")
    assert crowd.study.code in last and "data-item" not in last and "5 of 5" in last


def test_only_an_address_of_the_study_is_welcomed_and_begins(crowd):
    act = handlers(crowd_app.build(crowd))
    for wrong in ("", address(crowd, "other")):
        said, start = act["arrive"](wrong)
        assert "needs the whole address" in said and start["visible"] is False
        who, said, start, _ = act["begin"](wrong)
        assert (who, start["visible"], crowd.work) == ("", False, {}) and "needs the whole address" in said
    assert act["arrive"](address(crowd))[1]["visible"] is True and crowd.work == {}
    who, shown, start, keys = act["begin"](address(crowd))
    assert (who, start["visible"], keys["visible"]) == ("abc1", False, True) and "0 of 5" in shown
    act["clicked"](crowd.open_pair("abc1")["item"], "")
    assert crowd.work["abc1"].answers == {}


def test_each_button_of_both_pages_gives_its_own_answer(crowd, tmp_path):
    crowd.begin(Visitor("p", "s1", "x1"))
    answers = Answers(ITEMS, tmp_path / "answers.jsonl")
    for blocks, give in (
        (crowd_app.build(crowd), lambda fn: fn(crowd.open_pair("p")["item"], "p")),
        (human_app.build(answers), lambda fn: fn(answers.open_item("p").id, "p")),
    ):
        for fn in [one.fn for one in blocks.fns.values() if one.fn and one.fn.__name__ == "clicked"]:
            give(fn)
    choices = ["A", "B", "tie", "both_bad"]
    assert [choice for choice, _ in crowd.work["p"].answers.values()] == choices
    assert [row["choice"] for row in read_dicts(answers.path)] == choices


# --- the review --------------------------------------------------------------------------------------


def test_a_pair_under_review_stands_with_its_numbers_and_three_reasons_as_text(tmp_path):
    review = a_review(tmp_path, [pair(1)])
    one = review.current.pair.model_copy(update={"tweet": MARKUP, "reply": MARKUP, "tweet_author": "<b>ann"})
    item = Doubtful(one, 1.0, ("<i>first", "second", "third", "fourth"))
    stands = SimpleNamespace(progress=review.progress, current=item)
    shown = review_page(stands, "<u>set", "<s>said", error=True)
    assert not re.search("<img|<b>|<i>|<u>|<s>", shown)
    assert "third" in shown and "fourth" not in shown and 'class="said bad"' in shown
    assert f'data-id="{one.id}"' in shown and f"{one.tweet_likes:,} likes" in shown


def test_progress_counts_what_was_decided(tmp_path):
    review = a_review(tmp_path, [pair(n) for n in range(8)])
    for n, act in enumerate((review.keep, review.drop, review.drop, review.edit, review.keep, review.keep)):
        at = review.current.pair
        act(at.id, f"{at.reply} indeed {n}") if act == review.edit else act(at.id)
    shown = review_page(review, "main")
    counts = [int(n) for n in re.search(r"(\d+) kept · (\d+) dropped · (\d+) edited", shown).groups()]
    progress = review.progress()
    assert counts == [progress.kept, progress.dropped, progress.edited] and counts[1:] == [2, 1]
    assert "6 of 8" in shown and "width:75.00%" in shown


def test_an_edit_that_was_refused_stays_in_the_editor_and_nothing_else_opens_it(tmp_path):
    review = a_review(tmp_path, [pair(1), pair(2)])
    view = _Page(review, "main", threading.Event())
    blocks = view.build()
    save, keep = (
        next(one.fn for one in blocks.fns.values() if one.targets[0][0] == button(blocks, name)._id)
        for name in ("key-save", "key-k")
    )
    first = review.current.pair.id
    shown, editing, text, _, bar = save("no such pair", "my own words")
    assert (editing["visible"], text, bar["visible"]) == (True, "my own words", False) and "said bad" in shown
    _, editing, text, _, _ = keep("no such pair")
    assert (editing["visible"], text) == (False, "") and review.current.pair.id == first
    _, editing, _, _, _ = save(first, f"{review.current.pair.reply} indeed")
    assert editing["visible"] is False and review.current.pair.id != first


def button(blocks, elem_id):
    return next(one for one in blocks.blocks.values() if getattr(one, "elem_id", None) == elem_id)


def test_every_text_of_the_crowds_page_is_json_that_names_no_system(crowd):
    config = json.dumps(crowd_app.build(crowd).get_config_file(), default=str)
    assert crowd.study.code not in config and crowd.study.key not in config
