"""Tier 1: what a text shows about itself, per system."""

import pytest

from lib.base.schema import Reply
from lib.model.flaws import flaws_of
from lib.model.overlap import distinct, overlap_with_human
from lib.model.sanity import asked, sanity
from tests.eval_data import pair, prompt

PROMPTS = [prompt(n) for n in range(4)]


def reply(number, text, system="tuned"):
    return Reply(
        tweet_id=f"{5000 + number}",
        system=system,
        reply=text,
        engine="e",
        quantization="q",
        seed=1,
        tokens=4,
        seconds=0.1,
    )


def english(texts):
    return [("en", 0.99) if "the" in text else ("de", 0.99) for text in texts]


def measured(texts, leaks=None, **options):
    replies = [reply(n, text) for n, text in enumerate(texts)]
    flaws = flaws_of(replies, PROMPTS, [pair(0)], english, **options)
    return sanity(replies, PROMPTS, flaws, leaks)["tuned"]


def test_lengths_and_empty_replies_are_counted_apart():
    found = measured(["ab", "abcd", "x" * 300, "  "])
    assert (found["n"], found["empty"], found["over_280"]) == (4, 0.25, pytest.approx(1 / 3))
    assert found["mean_chars"] == 102 and found["median_chars"] == 4


def test_distinct_is_different_over_all_n_grams():
    assert distinct(["a b a", "a b"], 1) == 2 / 5
    assert distinct(["a b a", "a b"], 2) == 2 / 3
    assert distinct([], 1) is None


def test_copies_of_the_tweet_and_of_training_replies_are_found():
    recited = " ".join(pair(0).reply.split()[:9])
    found = measured([PROMPTS[0].tweet, "fresh words here", f"well, {recited}", "none of it"])
    assert found["copied"] == 0.25 and found["recited"] == 0.25


def test_leaks_of_the_generation_and_of_the_text_are_added_up():
    assert measured(["<think> hm", "fine"], leaks={"tuned": 3, "base": 9})["leaks"] == 4


def test_language_and_toxicity_come_from_the_scorers():
    texts = ["the one that got away again", "das eine das noch fehlt heute"]
    found = measured(texts, score_toxicity=lambda texts: [0.9, 0.1])
    assert (found["other_language"], found["toxic"]) == (0.5, 0.5)
    assert measured(texts)["toxic"] == 0


def test_overlap_with_the_human_reply_is_that_of_the_libraries():
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu import corpus_chrf

    texts = ["Oh no, how did it break?", "no idea"]
    found = overlap_with_human(
        [reply(n, text) for n, text in enumerate(texts)], {p.tweet_id: p for p in PROMPTS}
    )
    human = [p.human_reply for p in PROMPTS[:2]]
    scores = [
        RougeScorer(["rougeL"]).score(h, t)["rougeL"].fmeasure for h, t in zip(human, texts, strict=True)
    ]
    assert (
        found["rouge_l"] == pytest.approx(sum(scores) / 2)
        and found["chrf"] == corpus_chrf(texts, [human]).score
    )
    assert found["note"] == "sanity only"
    assert overlap_with_human([reply(0, "x")], {"5000": prompt(0, human=False)}) is None


def test_systems_are_measured_apart_and_an_empty_one_does_not_break_it():
    replies = [reply(0, "the base", "base"), reply(0, "", "tuned"), reply(0, "the human", "human")]
    found = sanity(replies, PROMPTS, flaws_of(replies, PROMPTS, [], english))
    assert list(found) == ["base", "tuned", "human"]
    assert (found["tuned"]["empty"], found["tuned"]["failed"]) == (1, 1)
    assert (found["tuned"]["mean_chars"], found["tuned"]["alike"]) == (None, None)
    assert found["human"]["overlap_with_human"] is None
    more = [*replies, reply(1, "once more", "tuned")]
    assert sanity(more, PROMPTS, flaws_of(more, PROMPTS, [], english))["tuned"]["tokens"] == 8


def test_a_tweet_that_a_system_left_out_is_one_that_it_failed():
    replies = [reply(n, "fine by the way", "base") for n in range(4)] + [reply(0, "the one", "tuned")]
    found = sanity(replies, PROMPTS, flaws_of(replies, PROMPTS, [], english))
    assert (found["tuned"]["failed"], found["base"]["failed"]) == (0.75, 0)


@pytest.mark.parametrize(("n_chars", "share"), [(280, 0), (281, 1)])
def test_a_reply_is_over_280_above_280_characters(n_chars, share):
    assert measured(["x" * n_chars])["over_280"] == share


def test_people_are_asked_what_they_answered_and_systems_what_anybody_answered():
    replies = [reply(0, "a", "base"), reply(1, "b", "tuned"), reply(2, "c", "human")]
    assert asked(replies, "human") == ["5002"]
    assert asked(replies, "tuned") == asked(replies, "base") == ["5000", "5001", "5002"]
