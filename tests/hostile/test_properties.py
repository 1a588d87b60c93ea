"""What holds for any text, drawn by hypothesis: cleaning, pairing, splits, the books, the leak scan."""

import base64
import gzip
import json
import re
import unicodedata
import zlib
from collections import defaultdict
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.base.characters import EMOJI, n_characters, visible
from lib.base.errors import UserError
from lib.base.files import append_line, read_dicts, read_jsonl, write_jsonl
from lib.base.ledger import Ledger
from lib.base.schema import Pair, Tweet
from lib.base.settings import SplitConfig
from lib.data.control_tokens import control_tokens
from lib.data.pairs import join
from lib.data.splits import SPLITS, drop_leaks, prompts_of, split_pairs
from lib.data.text import clean_text, clean_tweet, normalised
from lib.data.vectors import char_ngram_vectors
from lib.publish.dist_leaks import refuse_leaks
from lib.publish.known import Known, word_runs
from tests.eval_data import pair
from tests.hostile.texts import TEXTS
from tests.items import reply_item, rows_of, tweet_item

# Characters and pieces that cleaning has a rule for, in any order, beside any others.
PIECES = [
    *TEXTS.values(), "@ann ", "#RemoteWork", "#a", "https://t.co/x", "x.com/y", "soooo", "&amp;", "&lt;",
    "\u200d", "\ufe0f", "\u20e3", "\u0301", "👩", "🏽", "🇬", "🇧", "🏴", "\U000e0067", "\U000e007f", "❤", "#",
    "1", "<|", "|>", "</think>", "e",
    "ﬁ", "İ", "ß", "한", "ᄒ", "ᅡ", "क्ष", "\n", " ", ".", "'s", "：", "＠x", "＃y",
]  # fmt: skip
SHORT = [piece for piece in PIECES if len(piece) < 300]
texts = st.lists(st.sampled_from(SHORT) | st.text(max_size=6), max_size=8).map("".join)
quick = settings(max_examples=150, deadline=None)
with_files = settings(quick, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


# --- cleaning ----------------------------------------------------------------------------------------


@quick
@given(texts)
def test_cleaning_twice_changes_nothing_and_leaves_nothing_that_acts(text):
    for clean in (clean_text, clean_tweet):
        once = clean(text)
        assert clean(once) == once
        assert not control_tokens(once)
        assert visible(once) == once == unicodedata.normalize("NFC", once)
        once.encode("utf-8")


@quick
@given(texts)
def test_cleaning_never_grows_a_text(text):
    """But for the spaces by which a hashtag becomes words."""
    seen = visible(text)
    for clean in (clean_text, clean_tweet):
        letters, before = (re.sub(r"\s", "", one) for one in (clean(text), seen))
        assert len(letters) <= len(before)
        assert n_characters(letters) <= n_characters(before)


@quick
@given(texts)
def test_cleaning_cuts_no_emoji(text):
    """Every emoji that is left stood in the text as a reader sees it."""
    there = EMOJI.findall(visible(text))
    for emoji in EMOJI.findall(clean_tweet(text)):
        assert emoji in there


# --- pairing and splits --------------------------------------------------------------------------------


def conversation(draw):
    """Rows of tweets and replies in which ids, texts, likes and times of observation often coincide."""
    ids = st.sampled_from([str(10**18 + n) for n in range(6)])
    items = []
    for _ in range(draw(st.integers(1, 8))):
        own = {
            "id": draw(ids),
            "likeCount": draw(st.integers(0, 2)),
            "text": draw(st.sampled_from(["one", "two"])),
        }
        own["author"] = {
            "userName": draw(st.sampled_from(["ann", "bob"])),
            "followers": draw(st.integers(1, 2)),
        }
        if draw(st.booleans()):
            items.append(tweet_item(**own, conversationId=own["id"]))
        else:
            parent = draw(ids)
            items.append(reply_item(**own, inReplyToId=parent, conversationId=parent))
    return items


@quick
@given(st.data())
def test_the_order_of_rows_never_changes_the_pairs(data):
    rows = rows_of(*conversation(data.draw))
    shuffled = data.draw(st.permutations(rows))
    one, other = join(rows), join(shuffled)
    assert one.pairs == other.pairs and one.tweets == other.tweets
    assert one.rejected == other.rejected
    assert one.n_rows == one.n_tweet_rows + len(one.pairs) + len(one.rejected)


handles = (
    st.sampled_from(["ann", "Ann", "@ann", "ANN", "bob", "b_o_b", "eve", "İ", "i̇", "ß", "ss", "..", ""])
    | texts
)


@quick
@given(st.lists(st.tuples(handles, texts, texts), max_size=12), st.integers(0, 5))
def test_no_author_tweet_or_text_is_in_two_splits(found, seed):
    config = SplitConfig(val=0.3, test=0.3, seed=seed)
    pairs = [
        pair(n, tweet_author=author or "x", tweet=whole(tweet) or "y", reply=whole(reply) or "z")
        for n, (author, tweet, reply) in enumerate([(whole(a), b, c) for a, b, c in found])
    ]
    parts = split_pairs(pairs, config)
    fields = [name for name in Tweet.model_fields if name != "flags"]
    tweets = [Tweet(**{name: getattr(one, name) for name in fields}) for one in pairs]
    prompts = prompts_of(tweets, parts["test"], config)
    kept, rejected = drop_leaks(parts, prompts, char_ngram_vectors, 0.9)
    assert sum(map(len, kept.values())) + len(rejected) == len(pairs)
    where = defaultdict(set)
    for name in SPLITS:
        for one in kept[name]:
            where["author", one.tweet_author.lstrip("@").casefold()].add(name)
            where["reply", normalised(one.reply)].add(name)
            where["tweet", normalised(one.tweet)].add(name)
    assert [key for key, names in where.items() if len(names) > 1] == []
    measured = {normalised(prompt.tweet) for prompt in prompts}
    assert not measured & {normalised(one.tweet) for name in ("train", "val") for one in kept[name]}


def whole(text):
    """As records hold it."""
    return re.sub("[\ud800-\udfff\0]", "", text)


# --- books -------------------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False) | texts.map(whole),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts.map(whole), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
objects = st.dictionaries(texts.map(whole), values, max_size=4)


@with_files
@given(rows=st.lists(objects, min_size=1, max_size=5))
def test_lines_come_back_as_they_were_whole_or_appended(rows, tmp_path):
    write_jsonl(tmp_path / "whole.jsonl", rows)
    (tmp_path / "grown.jsonl").unlink(missing_ok=True)
    for row in rows:
        append_line(tmp_path / "grown.jsonl", row)
    assert (tmp_path / "whole.jsonl").read_bytes() == (tmp_path / "grown.jsonl").read_bytes()
    assert read_dicts(tmp_path / "whole.jsonl") == rows


@with_files
@given(key=texts.map(whole), note=objects, usd=st.floats(0, 1e6))
def test_a_ledger_gives_back_what_was_booked(key, note, usd, tmp_path):
    (tmp_path / "ledger.jsonl").unlink(missing_ok=True)
    ledger = Ledger(tmp_path / "ledger.jsonl")
    booked = [
        ledger.append("intent", key, "judge", note=note),
        ledger.append("done", key, "judge", usd=usd, id=key),
    ]
    assert ledger.entries() == booked
    assert ledger.spent_usd() == usd


@with_files
@given(tweet=texts.map(whole), reply=texts.map(whole))
def test_a_pair_comes_back_as_it_was(tweet, reply, tmp_path):
    pairs = [pair(1, tweet=tweet or "x", reply=reply or "x")]
    write_jsonl(tmp_path / "pairs.jsonl", pairs)
    assert read_jsonl(tmp_path / "pairs.jsonl", Pair) == pairs


# --- leaks -------------------------------------------------------------------------------------------

SECRET = "hf_" + "a1B2" * 8
KNOWN = Known(
    word_runs(["One two three four five six seven eight nine ten"]), frozenset({"odd-looking-secret/1"})
)
SECRETS = [SECRET, "odd-looking-secret/1", "One two three four five six seven eight nine ten"]
SPELLINGS = {
    "plain": lambda text: text,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 twice": lambda text: base64.b64encode(base64.b64encode(text.encode())).decode(),
    "base64 of UTF-16": lambda text: base64.b64encode(text.encode("utf-16-le")).decode(),
    "base32": lambda text: base64.b32encode(text.encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal with spaces": lambda text: text.encode().hex(" "),
    "hexadecimal of UTF-16": lambda text: text.encode("utf-16-be").hex(),
    "gzip in base64": lambda text: base64.b64encode(gzip.compress(text.encode())).decode(),
    "zlib in base64": lambda text: base64.b64encode(zlib.compress(text.encode())).decode(),
    "URL": lambda text: quote(text, safe=""),
    "URL twice": lambda text: quote(quote(text, safe=""), safe=""),
    "every byte as %xx": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "a URL in base64": lambda text: base64.b64encode(quote(text, safe="").encode()).decode(),
    "base64 in a URL": lambda text: quote(base64.b64encode(text.encode()).decode(), safe=""),
    "numbers": lambda text: ", ".join(str(byte) for byte in text.encode()),
    "quoted-printable": lambda text: "".join(f"={byte:02X}" for byte in text.encode()),
}
FILES = {
    "README.md": lambda text: f"# Card\n\nSome words {text} and more.\n",
    "adapter_config.json": lambda text: json.dumps({"a": [{text: 1, "b": text}]}),
    "chat_template.jinja": lambda text: "{# " + text + " #}",
    "eval/summary.json": lambda text: json.dumps({"note": text}, indent=2),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_planted_secret_is_found_in_every_allowed_file_however_it_is_spelled(secret, spelling, tmp_path):
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        for file, put in FILES.items():
            folder = tmp_path / encoding / file.replace("/", "-")
            (folder / file).parent.mkdir(parents=True)
            (folder / file).write_bytes(put(SPELLINGS[spelling](secret)).encode(encoding))
            with pytest.raises(UserError) as refused:
                refuse_leaks(folder, KNOWN)
            assert secret not in str(refused.value), (file, encoding)
