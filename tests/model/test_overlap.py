"""How much of what a run writes is learned by heart, next to the base model."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from lib.base.files import read_json
from lib.base.schema import Reply, TestPrompt
from lib.model.flaws import flaws_of
from lib.model.overlap import Diversity, copied_share, copies, distinct, diversity, learned_runs
from lib.model.sanity import sanity
from lib.train.manifest import Memorisation
from lib.train.validation import memorisation, memorisation_line
from tests.training_data import pairs

LEARNED = "The second one is easier, the third one is a habit."  # 11 words


def test_eight_words_in_a_row_are_a_copy_and_seven_are_not():
    learned = learned_runs([LEARNED])
    assert copies("@ann honestly: THE second one is easier the third ONE!", learned)
    assert not copies("the second one is easier the third, not", learned)
    assert not copies("", learned)


def test_a_short_training_reply_cannot_be_recited():
    assert learned_runs(["Bold of you.", "seven words are not enough for it"]) == set()


def test_the_share_is_of_the_replies_that_are_not_empty():
    learned = learned_runs([LEARNED])
    assert copied_share([LEARNED, "Bold.", "", " "], learned) == 0.5
    assert copied_share(["", " "], learned) is None


def test_evaluation_counts_the_same_way():
    train = [pair.model_copy(update={"reply": LEARNED}) for pair in pairs()[:1]]
    texts = [LEARNED, f"Well, {LEARNED}", "Bold of you."]
    replies = [
        Reply(
            tweet_id=str(n),
            system="tuned",
            reply=text,
            engine="e",
            quantization="fp32",
            seed=1,
            tokens=9,
            seconds=1.0,
        )
        for n, text in enumerate(texts)
    ]
    prompts = [TestPrompt(tweet_id=str(n), tweet="hm", tweet_author="a", tweet_likes=1) for n in range(3)]
    flaws = flaws_of(replies, prompts, train, lambda texts: [("en", 1.0)] * len(texts))
    recited = sanity(replies, prompts, flaws)["tuned"]["recited"]
    assert recited == copied_share(texts, learned_runs([LEARNED])) == 2 / 3


def test_a_finished_run_says_how_much_base_and_tuned_copy(tiny_run):
    manifest, validation = (
        read_json(Path("adapters/tiny") / name) for name in ("manifest.json", "validation.json")
    )
    assert manifest["memorisation"].keys() == {"words", "n", "base", "tuned"}
    assert (manifest["memorisation"]["words"], manifest["memorisation"]["n"]) == (8, 3)
    assert validation["step"] == manifest["best_step"]
    assert [reply["tweet_id"] for reply in validation["replies"]] == ["10014", "10015", "10016"]


def test_the_answers_are_the_best_checkpoints_and_the_base_ones_are_the_bases(tiny_run):
    from lib.base.config import load_config
    from lib.base.settings import TrainConfig
    from lib.model.loading import load_for_inference
    from lib.train.run import _prepare
    from lib.train.validation import greedy_replies, validation_tweets

    config = load_config(Path("configs/train-tiny.yaml"), TrainConfig)
    job = _prepare("tiny", config, Path("adapters/tiny"))
    model = load_for_inference(Path("adapters/tiny"), config).model
    tweets = list(validation_tweets(job).values())
    kept = read_json(Path("adapters/tiny/validation.json"))["replies"]
    assert [reply["tuned"] for reply in kept] == greedy_replies(model, job, tweets)
    with model.disable_adapter():
        assert [reply["base"] for reply in kept] == greedy_replies(model, job, tweets)


def test_a_run_that_learned_by_heart_is_found_out():
    job = SimpleNamespace(
        splits={"train": [pair.model_copy(update={"reply": LEARNED}) for pair in pairs()[:3]]}
    )
    replies = [
        {"tweet_id": str(n), "base": "Bold of you." if n else "", "tuned": LEARNED if n else "No."}
        for n in range(4)
    ]
    found = memorisation(job, {"replies": replies})
    assert found == Memorisation(words=8, n=4, base=0.0, tuned=0.75)
    assert (
        memorisation_line(found)
        == "copies 8+ words of a training reply: tuned 75%, base 0% (4 validation tweets)"
    )


def test_no_batch_is_begun_when_the_time_is_up(tiny_run, monkeypatch):
    from lib.base.config import load_config
    from lib.base.settings import TrainConfig
    from lib.model.loading import load_model_for_training
    from lib.train.run import _prepare
    from lib.train.validation import answer_validation

    config = load_config(Path("configs/train-tiny.yaml"), TrainConfig)
    job = _prepare("tiny", config, Path("adapters/tiny"))
    best = read_json(Path("adapters/tiny/manifest.json"))["best_step"]
    monkeypatch.setattr("lib.train.validation.TWEETS_PER_BATCH", 2)
    monkeypatch.setattr("lib.train.validation.MAX_SECONDS", -1)
    assert answer_validation(job, best, load_model_for_training(config)[0])["replies"] == []
    monkeypatch.setattr("lib.train.validation.MAX_SECONDS", 1000)
    assert len(answer_validation(job, best, load_model_for_training(config)[0])["replies"]) == 3


MIXED = ["The tea is cold now", "My bike has a flat tyre", "Who ate the last biscuit", "A dog ran off"]


def test_a_model_that_says_one_thing_to_every_tweet_has_collapsed_and_its_base_has_not():
    base = diversity(MIXED)
    assert (base.alike, base.distinct_2, base.collapsed(base)) == (0, 1, False)
    assert diversity(["So true, my friend"] * 4).collapsed(base)
    assert diversity([""] * 4).collapsed(base)  # nothing, to every tweet
    assert not diversity([*MIXED[:3], MIXED[0]]).collapsed(base)
    silent = diversity([""] * 4)
    assert not silent.collapsed(silent)  # as its base was: nothing has become worse


@pytest.mark.parametrize(
    ("own", "base", "has_collapsed"),
    [
        ((0.9, 0.5), (0.9, 0.0), False),
        ((0.9, 0.51), (0.9, 0.0), True),
        ((0.9, 0.6), (0.9, 0.6), False),
        ((0.9, 0.61), (0.9, 0.6), True),
        ((0.5, 0.0), (1.0, 0.0), False),
        ((0.49, 0.0), (1.0, 0.0), True),
        ((0.1, 0.0), (None, 0.0), False),
        ((None, None), (1.0, 0.0), False),
        ((0.9, 0.51), (0.9, None), True),
    ],
)
def test_a_model_has_collapsed_where_most_replies_repeat_or_half_of_its_base_s_variety_is_gone(
    own, base, has_collapsed
):
    assert Diversity(*own).collapsed(Diversity(*base)) == has_collapsed


def test_variety_is_of_word_pairs_whatever_their_case_and_a_single_word_is_one():
    assert distinct(["So true", "so TRUE", "yes"], 2) == 2 / 3
    assert distinct(["a b c", "b c d"], 2) == 3 / 4
    assert distinct(["", " "], 2) is None
