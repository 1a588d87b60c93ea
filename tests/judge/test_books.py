"""The books on a paid judge and the outcomes of its questions, without a server."""

import json

import pytest

from lib.base.files import read_dicts
from lib.base.ledger import Ledger
from lib.judge.books import Books
from lib.judge.comparisons import Comparison, Verdict, read_judgments
from lib.judge.outcomes import Outcomes
from lib.judge.paid import account_of
from lib.judge.prices import Price
from lib.judge.rubric import UnusableAnswerError

PRICE = Price(2, 10, 0.1)
ONE = Comparison("1", "a tweet", "tuned", "base", "x", "y")


@pytest.fixture
def books(tmp_path):
    (tmp_path / "work").mkdir()
    return Books(tmp_path / "work", Ledger(tmp_path / "ledger.jsonl"))


def again(books):
    """The books as the next process reads them."""
    return Books(books.folder, Ledger(books.ledger.path))


def answer(n_out=100, **usage):
    return json.dumps({"usage": {"input_tokens": 1000, "output_tokens": n_out, **usage}})


def keep(books, key, raw=None, worst=0.5):
    unit = books.new_unit(key)
    assert books.begin(unit, worst, 100)
    books.keep(key, unit, raw or answer(), PRICE, worst)


def test_a_request_begins_only_where_its_worst_case_fits_beside_what_is_spent(books):
    keep(books, "a", answer(n_out=0))  # $0.002
    assert not books.begin("b-1", 0.4981, 0.5)
    assert books.begin("b-1", 0.498, 0.5)  # exactly
    assert books.spent_usd() == pytest.approx(0.5)
    assert again(books).spent_usd() == pytest.approx(0.5)


def test_what_was_refused_is_free_and_what_was_lost_is_booked_at_its_worst(books):
    assert books.begin("a-1", 0.3, 1) and books.begin("b-1", 0.2, 1)
    books.refused("a-1", "busy")
    books.lost("b-1", "the connection broke")
    for found in (books, again(books)):
        assert found.spent_usd() == pytest.approx(0.2)
        assert (found.n_lost()["a"], found.n_lost()["b"]) == (0, 1)
    assert (books.new_unit("a"), books.new_unit("b"), books.new_unit("c")) == ("a-1", "b-2", "c-1")
    account = account_of(books.folder, Ledger(books.ledger.path), {"a", "c"})
    assert account["asked_again"] == 0
    assert account_of(books.folder, Ledger(books.ledger.path), {"b"})["asked_again"] == 1


def test_an_answer_is_stored_once_and_costs_what_it_says_or_the_most_it_can(books):
    keep(books, "a", answer(cache_read_input_tokens=2000))
    keep(books, "b", json.dumps({"usage": {"input_tokens": 5}}), worst=0.4)
    first = books.store("c", "batch-1", answer(), PRICE, 0.5, batch=True)
    assert first == pytest.approx((1000 * 2 + 100 * 10) / 2e6)
    books.store("c", "batch-1", answer(n_out=999), PRICE, 0.5, batch=True)
    rows = read_dicts(books.folder / "answers.jsonl")
    assert [row["key"] for row in rows] == ["a", "b", "c"]
    assert rows[2]["usage"]["output_tokens"] == 100
    account = again(books).account()
    assert (account["answers"], account["input_tokens"], account["output_tokens"]) == (3, 4000, 200)
    assert account["usd"] == pytest.approx(0.4 + (1000 * 2 + 2000 * 0.1 + 100 * 10) / 1e6)
    assert (account["possibly_paid"], account["possibly_paid_usd"]) == (0, 0)


def test_what_may_have_been_paid_is_told_apart_from_what_was(books):
    keep(books, "a")
    assert books.begin("b-1", 0.25, 9)
    books.lost("b-1", "lost")
    account = books.account()
    assert (account["possibly_paid"], account["possibly_paid_usd"]) == (1, 0.25)
    assert account["usd"] == pytest.approx(0.253)


def test_the_next_process_closes_what_a_killed_one_left_open(books):
    assert books.begin("a-1", 0.3, 9) and books.begin("b-1", 0.2, 9)
    books.store("a", "a-1", answer(), PRICE, 0.3, batch=False)
    found = again(books)
    assert found.settle() == 1
    assert found.spent_usd() == pytest.approx(0.003 + 0.2)
    assert (found.n_lost()["a"], found.n_lost()["b"]) == (0, 1)
    assert again(books).settle() == 0


def test_the_mean_of_an_answer_is_that_of_five_or_more_to_these_questions(books):
    for n in range(6):
        keep(books, f"k{n}", answer(n_out=100 * (n + 1)))
    assert books.mean_output_tokens([f"k{n}" for n in range(5)]) == 300
    assert books.mean_output_tokens([f"k{n}" for n in range(4)]) is None


# --- the outcome of a question --------------------------------------------------------------------------


def read(comparison, raw):
    if raw == "bad":
        raise UnusableAnswerError("refusal", "declined")
    return Verdict(float(raw), {})


def outcomes(books):
    return Outcomes(books.folder, read)


def test_a_judgment_is_written_once_and_the_first_failure_of_a_question_counts(books):
    found = outcomes(books)
    for _ in range(2):
        found.read("a", ONE, "1", "m")
        found.read("b", ONE, "bad", "m")
    found.lost("a", 2)
    found.lost("b", 2)
    assert [one.verdict for one in read_judgments(books.folder / "judgments.jsonl").values()] == [1.0]
    assert len((books.folder / "judgments.jsonl").read_text().splitlines()) == 1
    rows = read_dicts(books.folder / "judgments.failed.jsonl")
    assert [(row["key"], row["reason"]) for row in rows] == [("b", "refusal")]


@pytest.mark.parametrize(
    ("reason", "counts"), [("answer_lost", True), ("rejected", True), ("refusal", False)]
)
def test_an_answer_that_came_after_its_question_was_given_up_counts(books, reason, counts):
    outcomes(books).fail("a", reason, "")
    outcomes(books).read("a", ONE, "0.5", "m")
    assert bool(read_judgments(books.folder / "judgments.jsonl")) == counts
