"""Waits, and requests that are refused one by one: which stop a run, and which are only left out."""

import pytest

from lib.judge.failures import (
    IN_A_ROW,
    MAX_WAIT_S,
    TRY_LATER,
    NotTakenError,
    RejectedError,
    Rejections,
    wait_s,
)


@pytest.mark.parametrize(
    ("attempt", "asked", "least"),
    [(0, None, 1), (3, None, 8), (20, None, MAX_WAIT_S), (0, 30.0, 30), (6, 0.0, 0), (0, 9999.0, MAX_WAIT_S)],
)
def test_a_wait_is_what_was_asked_for_or_doubles_and_has_an_end(attempt, asked, least):
    waits = [wait_s(attempt, NotTakenError("busy", asked)) for _ in range(50)]
    assert all(least <= wait <= 1.25 * least for wait in waits)
    assert len(set(waits)) > 1 or not least


def test_a_server_that_is_busy_or_timed_out_is_asked_later():
    assert {408, 429} <= {*TRY_LATER} and not {400, 401, 402, 403, 404, 413, 422} & {*TRY_LATER}


class Run:
    """Rejections of keys of the form tweet-n, and what became of them."""

    def __init__(self, has_answer=False):
        self.recorded = []
        tweets = {f"{tweet}-{n}": tweet for tweet in "abcdef" for n in range(9)}
        self.rejections = Rejections(
            tweets, lambda: has_answer, lambda key, detail: self.recorded.append(key)
        )

    def refuse(self, *keys):
        for key in keys:
            self.rejections.add(key, RejectedError(f"{key} is refused"))


def test_one_hostile_tweet_in_many_requests_stops_nothing_and_five_tweets_in_a_row_do():
    run = Run()
    run.refuse(*[f"a-{n}" for n in range(9)])
    run.refuse("b-0", "c-0", "d-0")
    assert IN_A_ROW == 5
    with pytest.raises(RejectedError, match="e-0 is refused"):
        run.refuse("e-0")
    assert run.rejections.waiting() == [] and run.recorded == []


def test_a_request_that_is_answered_later_speaks_against_what_was_refused_before_it():
    run = Run()
    run.refuse("a-0", "b-0")
    before = run.rejections.waiting()
    run.refuse("c-0")
    run.rejections.answered(before)
    assert (run.recorded, run.rejections.waiting()) == (["a-0", "b-0"], ["c-0"])


def test_at_the_end_what_waits_is_refused_if_anything_was_ever_taken_and_else_stops_the_run():
    run = Run(has_answer=True)
    run.refuse("a-0")
    run.rejections.close()
    assert run.recorded == ["a-0"]
    run = Run(has_answer=False)
    run.refuse("a-0")
    with pytest.raises(RejectedError, match="a-0 is refused"):
        run.rejections.close()
    assert run.recorded == []
    Run(has_answer=False).rejections.close()
