"""What the page's events answer, without a browser: rounds, votes, drafts, the history."""

import itertools
import logging

import pytest

from demo.drafts import Draft, drafter, drafts_list
from demo.events import SEEDS, as_asked, on_again, on_next, problem_with, streamer, voter
from demo.views import MAX_HISTORY, Side, history_list, settled, view_of
from demo.votes import KEYS_JS, Round, Session, Votes
from lib.base.files import read_dicts
from lib.base.settings import SamplingConfig

SAMPLING = SamplingConfig(temperature=0.7, seed=17)
NAMES = {"base": "Base", "tuned": "Tuned"}
ON = {"interactive": True, "__type__": "update"}


@pytest.fixture(autouse=True)
def _left_is_base(monkeypatch):
    monkeypatch.setattr("demo.votes.secrets.randbelow", lambda n: 0)


def writes(*steps, asked=None):
    """A generator of pairs that says these, and keeps in asked what it was asked."""

    def generate(tweet, sampling):
        if asked is not None:
            asked.append((tweet, sampling))
        yield from steps

    return generate


def answered(generate, session, tweet="hello", temperature=0.7, seed=17, blind=True, is_live=True):
    """The last view of a reply."""
    return list(streamer(generate, SAMPLING, is_live)(tweet, temperature, seed, blind, session))[-1]


@pytest.mark.parametrize(
    "tweet, said",
    [
        ("", "Write or paste"),
        (" \n ", "Write or paste"),
        ("x" * 1000, None),
        ("x" * 1001, "That is 1,001 characters. A tweet of at most 1,000 fits"),
    ],
)
def test_a_tweet_of_1_to_1000_characters_can_be_replied_to(tweet, said):
    assert (problem_with(tweet) or "").startswith(said or "") and bool(problem_with(tweet)) == bool(said)


def test_half_of_a_surrogate_pair_and_blanks_around_a_tweet_reach_no_model():
    asked = []
    answered(writes(("a", "b"), asked=asked), Session(), tweet="  half \ud83d \n")
    assert asked[0][0] == "half ?" == as_asked("half \ud83d")


@pytest.mark.parametrize(
    "temperature, seed, is_asked",
    [
        (0, 0, True),
        (2, SEEDS - 1, True),
        (2.05, 1, False),
        (-0.1, 1, False),
        (1, SEEDS, False),
        (1, -1, False),
    ],
)
def test_the_temperature_and_the_seed_that_were_chosen_are_used_within_their_bounds(
    temperature, seed, is_asked
):
    asked = []
    view = answered(writes(("a", "b"), asked=asked), Session(), temperature=temperature, seed=seed)
    chosen = [(sampling.temperature, sampling.seed, sampling.top_k) for _, sampling in asked]
    assert chosen == ([(temperature, seed, SAMPLING.top_k)] if is_asked else [])
    assert ("Change them under Sampling." in view[4]) != is_asked


@pytest.mark.parametrize(
    "steps, drafts, blind, is_open",
    [
        ([("a", ""), ("a", "b")], set(), True, True),
        ([("a", "b")], set(), False, False),
        ([("a", "")], set(), True, False),
        ([("", "b")], set(), True, False),
        ([("a", "b")], {"b"}, True, False),
        ([("a", "b")], {"a"}, True, True),
        ([("a", "b"), ("a", "b", ""), ("a", "b", "c")], set(), True, True),
    ],
)
def test_a_vote_opens_for_two_whole_replies_that_nobody_has_seen_named(steps, drafts, blind, is_open):
    session = Session(drafts=drafts)
    view = answered(writes(*steps), session, blind=blind, seed=99)
    assert (session.round == Round("hello", "a", "b", "base", 99)) == is_open
    assert bool(session.round) == is_open
    assert (
        view[-2] == ""
        and [one["interactive"] for one in settled(NAMES, blind, session)[7:11]] == [is_open] * 4
    )


def test_a_reply_that_was_shown_with_its_names_is_never_voted_on():
    session = Session()
    answered(writes(("a", "b"), ("a", "b", "c")), session, blind=False)
    assert "You have seen" in answered(writes(("a", "b")), session)[4] and session.round is None
    answered(writes(("a", "c")), session)
    assert session.round.tuned == "c"


def test_the_few_shot_reply_stands_in_the_third_box_of_an_open_round():
    view = answered(writes(("a", "b"), ("a", "b", "c")), Session(), blind=False)
    assert (view[0], view[1], view[-2]) == ("a", "b", "c")
    assert "Left reply: a Right reply: b Few-shot reply: c" in view[5]


@pytest.mark.parametrize("end, said", [("stop", "Stopped."), ("clear", "")])
def test_a_reply_that_was_ended_opens_no_vote_and_is_no_history(end, said):
    session = Session()

    def generate(tweet, sampling):
        yield "a", "b"
        session.end = end
        yield "a more", "b more"
        raise AssertionError("asked for more than the end")

    view = answered(generate, session)
    assert (view[0], said in view[4]) == ("a more" if end == "stop" else "", True)
    assert session.round is None and session.history == [] and not session.is_writing


def test_an_error_is_a_sentence_here_and_a_traceback_on_the_console(caplog):
    def fails(tweet, sampling):
        yield "a", ""
        raise RuntimeError("secret detail")

    with caplog.at_level(logging.ERROR):
        view = answered(fails, Session())
    assert "The console where the demo runs says why." in view[4] and "secret" not in view[4] + view[5]
    assert "secret detail" in caplog.text and view[5] == '<div class="quiet"></div>'


def test_again_goes_on_with_the_next_seed_and_begins_anew_after_the_last():
    asked = []
    again = on_again(streamer(writes(("a", "b"), asked=asked), SAMPLING))
    views = list(again("hello", 0.7, SEEDS - 1, False, Session()))
    assert views[0][0] == 0 and asked[0][1].seed == 0
    assert all(view[0] != 0 for view in views[1:])  # somebody may be typing there


def test_next_goes_round_the_held_out_tweets_of_each_tab():
    asked = []
    following = on_next(streamer(writes(("a", "b"), asked=asked), SAMPLING), ["one", "two"])
    for session in (tab := Session(), tab, tab, Session()):
        list(following("whatever", 0.7, 17, False, session))
    assert [tweet for tweet, _ in asked] == ["one", "two", "one", "one"]


def test_a_line_that_is_no_vote_is_named_and_the_vote_beside_it_is_kept(tmp_path):
    votes = Votes(tmp_path / "votes.jsonl", "test", "f" * 64)
    votes.path.write_text('{"odd": 1}\n')
    *_, tally, _, _, _, _ = voter(votes, "left", NAMES)(Session(Round("hello", "a", "b", "base", 17)))
    assert "votes.jsonl:1" in tally and "problem" in tally
    assert votes.path.read_text().count("\n") == 2


def test_a_tally_is_of_this_run_and_this_adapter_and_a_tie_is_half_a_win(tmp_path):
    path = tmp_path / "votes.jsonl"
    for run, sha256, choice in (
        *(("test", "f" * 64, choice) for choice in ("right", "tie", "both_bad")),
        ("other", "f" * 64, "left"),
        ("test", "0" * 64, "left"),
    ):
        Votes(path, run, sha256).add(Round("hello", "a", f"b{choice}", "base", 17), choice)
    said = Votes(path, "test", "f" * 64).tally()
    assert said.startswith("3 votes on this run: tuned 1, base 0, neither 2. Win rate of tuned 67 %")
    assert "interval 21 to 94 %" in said  # Wilson's of 2 of 3
    assert [row["run"] for row in read_dicts(path)] == ["test"] * 3 + ["other", "test"]


@pytest.mark.parametrize(
    "key", ["event.ctrlKey", "event.metaKey", "event.altKey", "event.repeat", "event.isComposing"]
)
def test_a_key_that_is_held_down_or_meant_for_the_browser_is_no_vote(key):
    assert key in KEYS_JS.partition(") return;")[0]


# --- what the page shows -----------------------------------------------------------------------------


def test_the_first_word_and_the_last_have_their_own_times_and_a_recording_has_none(monkeypatch):
    for is_live, times in ((True, "first word 1.0 s"), (False, "")):
        monkeypatch.setattr("demo.views.time.monotonic", itertools.count().__next__)
        side = Side(is_live)
        for text in ("", "one", "one two", "one two"):
            side.show(text)
        assert f"<span>{times}</span>" in side.line() and "7 of 280" in side.line()
        assert f"<span>{times}{' · all 2.0 s' * is_live}</span>" in side.line(over=True)


@pytest.mark.parametrize("n, is_too_long", [(280, False), (281, True)])
def test_a_post_has_280_characters(n, is_too_long):
    side = Side()
    side.show("x" * n)
    assert ("too long for a post" in side.line()) == is_too_long
    assert ("too long for a post" in drafts_list([Draft("x" * n)])) == is_too_long
    assert "23 of 280" in drafts_list([Draft("https://example.com/" + "x" * n)])


def test_only_a_whole_answer_without_a_problem_is_read_out():
    sides = [Side(), Side(), Side()]
    sides[0].show("<b>one")
    assert "Left reply: &lt;b&gt;one Right reply: " in view_of(sides, over=True)[5]
    for view in (view_of(sides), view_of(sides, "Wrong.", problem=True, over=True)):
        assert "Left reply" not in view[5]


def test_the_history_is_of_the_last_fifty_pairs_the_latest_first():
    session = Session(history=[Round(f"t{n}.", "<i>", "y", "tuned", 1) for n in range(MAX_HISTORY + 2)])
    said = history_list(session, {})
    assert said.index("t51.") < said.index("t50.") < said.index("t2.")
    assert "t1." not in said and said.count("<li>") == 50 and "<i>" not in said
    session.seen.add(("<i>", "y"))
    assert '<dt>Tuned</dt><dd dir="auto">y</dd><dt>Base</dt>' in history_list(session, NAMES)


def test_nothing_but_stop_changes_while_a_reply_is_written():
    writing = settled(NAMES, False, Session(is_writing=True))
    assert all("interactive" not in one for one in writing)
    is_on = [one["interactive"] for one in settled(NAMES, False, Session())[:11]]
    assert is_on == [True] * 5 + [False, True] + [False] * 4


# --- drafts ------------------------------------------------------------------------------------------


def drawn(steps, session, blind=False, tweet="hello", seed=17):
    """Every (list, status) of a click on Drafts."""
    return [view[:2] for view in drafter(steps, SAMPLING, True)(tweet, 0.7, seed, blind, session)]


def test_no_draft_of_the_tuned_model_is_shown_in_blind_mode_or_to_a_tweet_that_is_none():
    asked = []
    for more in ({"blind": True}, {"tweet": " "}, {"seed": -1}):
        ((shown, said),) = drawn(writes([Draft("b")], asked=asked), session := Session(), **more)
        assert shown == "" and "problem" in said and session.drafts == set()
    assert asked == []


@pytest.mark.parametrize("end", ["stop", "clear"])
def test_stop_keeps_the_drafts_that_are_there_and_clear_takes_them_away(end):
    session = Session()

    def write(tweet, sampling):
        yield [Draft("one")]
        session.end = end
        yield [Draft("one"), Draft("two")]
        raise AssertionError("asked for more than the end")

    shown, said = drawn(write, session)[-1]
    assert shown.count("<li>") == (2 if end == "stop" else 0)
    assert ("Stopped." in said) == (end == "stop")
    assert session.drafts == {"one", "two"} and not session.is_writing


def test_drafts_stand_by_score_with_the_words_that_move_it_by_a_tenth_or_more():
    effects = (("up", 0.5), ("down", -0.4), ("least", 0.1), ("small", 0.05), ("third", 0.1), ("fourth", 0.1))
    shown = drafts_list([Draft("worse", 2.0), Draft("better", 9.04, effects), Draft("none")])
    assert shown.index("better") < shown.index("worse") < shown.index("none")
    assert "9.0 · lifted by “up” +0.5, “least” +0.1, “third” +0.1 · lowered by “down” −0.4" in shown
    assert "small" not in shown and "fourth" not in shown
    assert "Best first" in shown and "Best first" not in drafts_list([Draft("no ranker")])
