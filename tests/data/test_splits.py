"""Train, val and test share no tweet, no author, no text; reviewing comes before them."""

from datetime import timedelta

import pytest

from lib.base.errors import UserError
from lib.base.files import append_line, content_hash
from lib.base.schema import Pair, Rejection, Tweet
from lib.base.settings import CollectConfig, DataConfig, FilterConfig, SplitConfig
from lib.data.decisions import Decision, apply_decisions, reviewed
from lib.data.processed import processed_of, shortfalls
from lib.data.splits import drop_leaks, prompts_of, refuse_empty, split_of, split_pairs
from tests.items import SEEN, english, pairs_of

CONFIG = SplitConfig(val=0.2, test=0.3, seed=17)
TEMPLATE = pairs_of()[0]


def pair_by(author, number, tweet=None, reply=None, likes=30, followers=800):
    return TEMPLATE.model_copy(
        update={
            "tweet_id": f"t{author}{number}",
            "tweet": tweet or f"{author}tells{number} of a day at the bakery",
            "tweet_author": author,
            "tweet_lang": "en",
            "reply_id": f"r{author}{number}",
            "reply": reply or f"{author}says{number} something that nobody else has said",
            "reply_author": f"fan{number}",
            "reply_likes": likes,
            "reply_author_followers": followers,
        }
    )


def tweet_of(pair, **changes):
    names = set(Tweet.model_fields) - {"flags"}
    return Tweet(**{**{name: getattr(pair, name) for name in names}, **changes})


def words(texts):
    """Vectors for the tests: texts that begin with the same word are one direction, others orthogonal."""
    import numpy as np

    vectors = np.zeros((len(texts), 2048), dtype=np.float32)
    vectors[np.arange(len(texts)), [AXES.setdefault(text.split()[0], len(AXES)) for text in texts]] = 1
    return vectors


AXES = {}  # first word of a text -> its direction


def nothing_alike(texts):
    return words(texts) * 0


PAIRS = [pair_by(f"author{number}", reply) for number in range(60) for reply in range(2)]
BY_SPLIT = split_pairs(PAIRS, CONFIG)


def test_an_authors_tweets_all_go_to_one_set():
    authors = {name: {pair.tweet_author for pair in part} for name, part in BY_SPLIT.items()}
    assert sum(map(len, BY_SPLIT.values())) == len(PAIRS)
    assert all(authors.values())
    assert not (
        authors["train"] & authors["val"]
        or authors["train"] & authors["test"]
        or authors["val"] & authors["test"]
    )
    assert split_of("@Author1", CONFIG) == split_of("author1", CONFIG)


def test_new_data_never_moves_old_pairs():
    more = split_pairs([*PAIRS[::-1], *(pair_by(f"new{number}", 0) for number in range(50))], CONFIG)
    for name, part in BY_SPLIT.items():
        assert {pair.id for pair in part} <= {pair.id for pair in more[name]}


def test_the_shares_are_those_of_the_config_and_the_seed_deals_anew():
    places = [split_of(f"u{number}", CONFIG) for number in range(4000)]
    assert abs(places.count("test") / 4000 - 0.3) < 0.03
    assert abs(places.count("val") / 4000 - 0.2) < 0.03
    assert places != [
        split_of(f"u{number}", CONFIG.model_copy(update={"seed": 18})) for number in range(4000)
    ]


def test_a_text_that_is_held_out_is_not_learned_from():
    train, test, val = BY_SPLIT["train"][0], BY_SPLIT["test"][0], BY_SPLIT["val"][0]
    parts = {
        "train": [*BY_SPLIT["train"][1:], train.model_copy(update={"reply": test.reply.upper()})],
        "val": [*BY_SPLIT["val"][1:], val.model_copy(update={"tweet": test.tweet})],
        "test": BY_SPLIT["test"],
    }
    kept, rejected = drop_leaks(parts, [], nothing_alike, 0.9)
    assert {rejection.id for rejection in rejected} == {train.id, val.id}
    assert {rejection.reason for rejection in rejected} == {"near_duplicate_across_splits"}
    assert kept["test"] == BY_SPLIT["test"]
    assert sum(map(len, kept.values())) + len(rejected) == len(PAIRS)


def test_a_similar_text_is_not_learned_from_either():
    head = BY_SPLIT["test"][0].reply.split()[0]
    train = BY_SPLIT["train"][0].model_copy(update={"reply": f"{head} has nearly the same to say"})
    kept, rejected = drop_leaks({**BY_SPLIT, "train": [train]}, [], words, 0.9)
    assert [rejection.id for rejection in rejected] == [train.id]
    assert kept["train"] == []


def test_test_prompts_are_all_held_out_tweets_with_the_best_reply_where_there_is_one():
    test = BY_SPLIT["test"]
    best = test[0].model_copy(update={"reply_id": "best", "reply": "the best of them", "reply_likes": 900})
    silent = tweet_of(test[0], tweet_id="silent", tweet="nobody answered @this https://t.co/x &amp; co")
    repeated = tweet_of(test[0], tweet_id="again", tweet="Nobody answered @that & co!")
    learned = tweet_of(BY_SPLIT["train"][0], tweet_id="learned")
    prompts = {
        prompt.tweet_id: prompt for prompt in prompts_of([silent, repeated, learned], [*test, best], CONFIG)
    }
    assert set(prompts) == {pair.tweet_id for pair in test} | {"again"}
    assert (prompts[best.tweet_id].human_reply, prompts[best.tweet_id].human_reply_likes) == (
        "the best of them",
        900,
    )
    assert (prompts["again"].tweet, prompts["again"].human_reply) == ("Nobody answered @that & co!", None)


def test_an_empty_set_is_an_error_that_says_what_to_do():
    with pytest.raises(
        UserError,
        match=(
            r"val and test would be empty: 2 pairs of 1 tweet authors\. "
            r"split_by_author \(val 0\.2, test 0\.3\) put \d in train, \d in val, \d in test\."
        ),
    ):
        refuse_empty({"train": PAIRS[:2], "val": [], "test": []}, [], CONFIG)


def test_an_empty_set_names_the_rule_that_took_the_pairs():
    author = BY_SPLIT["train"][0].tweet_author
    parts = {**BY_SPLIT, "train": [pair_by(author, 1, reply=BY_SPLIT["test"][0].reply)]}
    left, rejected = drop_leaks(parts, [], nothing_alike, 0.9)
    with pytest.raises(UserError) as refused:
        refuse_empty(left, rejected, CONFIG)
    assert "train would be empty" in str(refused.value)
    assert "1 in train" in str(refused.value)
    why = "near_duplicate_across_splits took 1: the reply is too similar to a held-out one. Collect tweets"
    assert why in str(refused.value)


def test_an_empty_set_names_the_review_where_people_took_the_pairs():
    dropped = [Rejection.of(pair, "split", "review_drop", "dull") for pair in BY_SPLIT["train"]]
    with pytest.raises(UserError) as refused:
        refuse_empty({**BY_SPLIT, "train": []}, dropped, CONFIG)
    n = len(dropped)
    assert f"{n} in train" in str(refused.value)
    assert f"; the review dropped {n}. Take drops back (`make review`, u undoes)" in str(refused.value)


CONFIG_OF_SET = DataConfig(
    collect=CollectConfig(source="files", target_pairs=10, min_pairs=5, max_pairs=20),
    filter=FilterConfig(toxicity_model="none"),
    split=SplitConfig(val=0.2, test=0.3, min_test_prompts=100, seed=17),
)


def processed(pairs, candidates=()):
    tweets = [tweet_of(pair) for pair in pairs]
    return processed_of(pairs, tweets, candidates, CONFIG_OF_SET, words, english)


def test_processing_loses_no_pair_and_says_what_there_is_too_little_of():
    result = processed(PAIRS)
    assert result.n_kept + len(result.rejected) == len(PAIRS)
    sentences = shortfalls(result.sizes, CONFIG_OF_SET)
    assert any(f"{len(result.prompts)} test prompts, 100 wanted" in sentence for sentence in sentences)
    assert any("0 preference pairs, 300 wanted" in sentence for sentence in sentences)


def test_preferences_come_from_train_and_val_and_calibration_from_test():
    candidates = [
        pair.model_copy(
            update={
                "reply_id": pair.reply_id + "x",
                "reply_likes": 3,
                "reply": f"unloved{number} words &amp; less witty than that",
                "reply_author": "other",
                "reply_created_at": pair.reply_created_at - timedelta(minutes=1),
            }
        )
        for number, pair in enumerate(PAIRS)
    ]
    result = processed(PAIRS, candidates)
    authors = {name: {pair.tweet_author for pair in part} for name, part in result.parts.items()}
    assert {one.tweet_author for one in result.preferences} == authors["train"] | authors["val"]
    assert {one.tweet_author for one in result.calibration} == authors["test"]
    assert all("words & less" in one.rejected for one in result.preferences)  # cleaned like every other text
    assert result.n_candidates == len(candidates)


def decision(pair, word, **fields):
    return Decision(id=pair.id, decision=word, at=SEEN, **fields)


def test_decisions_keep_drop_and_edit_and_the_last_one_counts():
    one, two, three, four, five = PAIRS[:5]
    decisions = [
        decision(one, "drop"),
        decision(one, "keep"),
        decision(two, "drop", reason="bland"),
        decision(three, "edit", reply="@x a better   reply"),
        decision(four, "drop"),
        decision(four, "undo"),
    ]
    kept, rejected, n_unreviewed = apply_decisions([one, two, three, four, five], decisions)
    assert [pair.id for pair in kept] == [one.id, three.id, four.id, five.id]
    assert kept[1].reply == "a better reply"
    assert [(rejection.id, rejection.reason, rejection.detail) for rejection in rejected] == [
        (two.id, "review_drop", "bland")
    ]
    assert n_unreviewed == 2


def test_a_decision_holds_for_the_text_that_was_seen():
    one, two = PAIRS[:2]
    decisions = [
        decision(one, "drop", text_sha=content_hash(one.reply)),
        decision(two, "drop", text_sha=content_hash("another text")),
    ]
    kept, rejected, n_unreviewed = apply_decisions([one, two], decisions)
    assert ([pair.id for pair in kept], len(rejected), n_unreviewed) == ([two.id], 1, 1)


def test_a_required_review_stops_the_split_with_the_count_and_the_command(tmp_path):
    path = tmp_path / "decisions.jsonl"
    with pytest.raises(UserError, match=r"5 of 5 pairs are unreviewed\. Run `make review DATA=main`"):
        reviewed(PAIRS[:5], path, "required", "main")
    for pair in PAIRS[:5]:
        append_line(path, decision(pair, "keep"))
    with path.open("ab") as handle:
        handle.write(b'{"id": "torn')
    kept, rejected = reviewed(PAIRS[:5], path, "required", "main")
    assert (len(kept), rejected) == (5, [])
    assert reviewed(PAIRS[:6], path, "optional", "main")[0] == PAIRS[:6]


def test_a_broken_decision_is_named_by_its_line(tmp_path):
    path = tmp_path / "decisions.jsonl"
    path.write_text('{"id": "1", "decision": "edit"}\n')
    with pytest.raises(UserError, match=r"decisions\.jsonl:1: .*an edit needs the new text"):
        reviewed(PAIRS[:1], path, "optional", "main")


def test_a_pair_survives_the_way_to_disk_and_back():
    assert Pair.model_validate_json(TEMPLATE.model_dump_json()) == TEMPLATE
