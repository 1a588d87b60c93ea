"""Dollars of an answer, by hand; what is expected of a job, at most and within the budget."""

import pytest

from lib.base.errors import UserError
from lib.base.settings import JudgeConfig
from lib.judge.estimate import Sizes, n_bytes, question
from lib.judge.paid import refuse_small_budget
from lib.judge.prices import Price, is_usage, n_input_tokens, price_of, usage_of

PRICE = Price(2, 10, 0.1, long=(5, 30))
ALL = {
    "input_tokens": 1000,
    "cache_creation_input_tokens": 400,
    "cache_read_input_tokens": 3000,
    "output_tokens": 200,
}


def test_an_answer_costs_what_its_tokens_cost_and_half_in_a_batch():
    by_hand = (1000 * 2 + 400 * 2 * 1.25 + 3000 * 0.1 + 200 * 10) / 1e6
    assert PRICE.usd(ALL, batch=False) == pytest.approx(by_hand)
    assert PRICE.usd(ALL, batch=True) == pytest.approx(by_hand / 2)
    assert PRICE.worst_usd(1000, 300, batch=False) == pytest.approx((1000 * 2 + 300 * 10) / 1e6)
    assert n_input_tokens(ALL) == 4400


@pytest.mark.parametrize("name", ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"])
def test_a_prompt_is_long_by_all_of_its_tokens_and_above_100_000(name):
    def rate_out(n_more):
        usage = {"input_tokens": 1000, "output_tokens": 0}
        usage[name] = usage.get(name, 0) + 99_000 + n_more
        with_output = PRICE.usd(usage | {"output_tokens": 1000}, False)
        return (with_output - PRICE.usd(usage, False)) * 1e3

    assert (rate_out(0), rate_out(1)) == (pytest.approx(10), pytest.approx(30))


@pytest.mark.parametrize(
    ("price", "is_free"), [((0, 0), True), ((0, 1), False), ((1, 0), False), ((1, 1), False)]
)
def test_a_server_is_free_where_neither_side_costs(price, is_free):
    assert Price(*price, 0).is_free == is_free


def test_a_model_with_its_date_costs_what_it_costs_without():
    assert price_of("claude-sonnet-5-5-20260901") == price_of("claude-sonnet-5-5")
    for odd in ("claude-sonnet-5-5-2026090", "claude-sonnet-5-5-x", "gpt-9"):
        with pytest.raises(UserError, match="is not known"):
            price_of(odd)


@pytest.mark.parametrize(
    ("usage", "says"),
    [
        ({"input_tokens": 0, "output_tokens": 0}, True),
        ({"input_tokens": 5}, False),
        ({"output_tokens": 5}, False),
        ({"input_tokens": -1, "output_tokens": 5}, False),
        ({"input_tokens": True, "output_tokens": 5}, False),
        (None, False),
    ],
)
def test_a_usage_says_what_was_billed_where_both_sides_are_counts(usage, says):
    assert is_usage(usage) == says


FEW = {"prompt_tokens": 9, "completion_tokens": 2}


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}, (100, 0, 20)),
        ({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 150}, (100, 0, 50)),
        ({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 90}, (100, 0, 20)),
        (FEW | {"prompt_tokens_details": {"cached_tokens": 4}}, (5, 4, 2)),
        (FEW | {"prompt_tokens_details": {"cached_tokens": 40}}, (0, 9, 2)),
        (FEW | {"prompt_tokens_details": {"cached_tokens": -4}}, (9, 0, 2)),
    ],
)  # fmt: skip
def test_the_usage_of_either_api_is_read_under_one_set_of_names(usage, counted):
    names = ("input_tokens", "cache_read_input_tokens", "output_tokens")
    assert tuple(usage_of({"usage": usage})[name] for name in names) == counted


# --- what a job will cost ------------------------------------------------------------------------------


def params(text):
    return {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": text}]}


def test_tokens_go_with_characters_and_a_token_is_at_least_one_byte():
    example, longer = params("x" * 100), params("x" * 1000)
    counted, guessed = Sizes(200, example), Sizes(None, example)
    assert counted.expected(example) == 200
    assert counted.expected(longer) / 200 == pytest.approx(n_bytes(longer) / n_bytes(example))
    assert guessed.expected(example) == pytest.approx(n_bytes(example) / 3.5)
    for text in ("x" * 1000, "😀" * 250):
        assert counted.worst(params(text)) >= 200 + 1000
        assert guessed.worst(params(text)) >= 500 + 1000


@pytest.mark.parametrize(
    ("cap", "spent", "said"),
    [
        (9.0, 0.0, "expected  $0.40, at most $1."),
        (0.5, 0.0, "expected  $0.40, at most $0.50\n"),
        (0.4, 0.2, "at most $0.20; it stops at the budget, after about 50% of the requests"),
    ],
)
def test_the_question_gives_what_is_expected_and_never_more_than_the_budget_that_is_left(cap, spent, said):
    one = {**params("x" * 500), "max_tokens": 1000}
    asked = question("m", PRICE, "a table", Sizes(1000, one), [one] * 100, 200, False, spent, cap)
    assert said in asked
    assert f"spent     ${spent:.2f} of the ${cap:.2f}" in asked


def test_a_budget_that_pays_for_exactly_one_verdict_is_enough(monkeypatch):
    monkeypatch.delenv("MAX_USD", raising=False)
    refuse_small_budget(JudgeConfig(max_usd=0.5), 0.5)
    with pytest.raises(UserError, match="does not pay for one verdict"):
        refuse_small_budget(JudgeConfig(max_usd=0.5), 0.51)
