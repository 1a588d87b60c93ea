"""Preferences -> what TRL's DPO and KTO trainers read: the same prompt, think block and learned tokens as
supervised training.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lib.base.errors import UserError
from lib.base.files import read_jsonl
from lib.base.schema import Pair, Preference
from lib.base.seals import checked
from lib.base.settings import TrainConfig
from lib.model.chat import Row, chat_of, halves
from lib.train.preflight import Check, controlled, leakage, no_tokenizer, padding, too_long, trainable
from lib.train.rows import one_answer, prompts_apart, token_row
from lib.train.schedule import cannot_fire, schedule

VAL_SHARE = 0.1
Parts = dict[str, list[Preference]]  # train, val


class Answer(NamedTuple):
    """One reply of a preference, with the fields that the checks and the rows of pairs read."""

    id: str
    tweet: str
    tweet_id: str
    tweet_author: str
    reply: str


def preferences_path(config: TrainConfig) -> Path:
    """Where the data set's preferences lie."""
    return Path("data") / config.data / "processed" / "preferences.jsonl"


def read_preferences(config: TrainConfig) -> list[Preference]:
    """processed/preferences.jsonl. Raises UserError if it is not there."""
    path = preferences_path(config)
    if not path.is_file():
        raise UserError(f"{path} does not exist. Run `make data DATA={config.data}` first.")
    return read_jsonl(checked(path), Preference)


def parts_of(preferences: Sequence[Preference]) -> Parts:
    """A tenth of the tweets' authors, chosen by hash, to validate on; no author, and so no tweet, is in both
    parts.
    """
    authors = sorted(
        {one.tweet_author.casefold() for one in preferences},
        key=lambda author: hashlib.sha256(author.encode()).digest(),
    )
    held_out = set(authors[: max(1, round(VAL_SHARE * len(authors)))])
    parts: Parts = {"train": [], "val": []}
    for one in preferences:
        parts["val" if one.tweet_author.casefold() in held_out else "train"].append(one)
    return parts


def answers(preferences: Sequence[Preference]) -> list[Answer]:
    """Chosen and rejected of each preference, one after the other."""
    found = []
    for one in preferences:
        for reply_id, reply in ((one.chosen_id, one.chosen), (one.rejected_id, one.rejected)):
            found.append(Answer(reply_id, one.tweet, one.tweet_id, one.tweet_author, reply))
    return found


def unpaired(preferences: Sequence[Preference]) -> tuple[list[Answer], list[Answer]]:
    """(good, bad), each reply once. A reply that was chosen over one and lost to another is neither."""
    by_id = {answer.id: answer for answer in answers(preferences)}
    chosen, rejected = {one.chosen_id for one in preferences}, {one.rejected_id for one in preferences}
    good = [by_id[reply_id] for reply_id in sorted(chosen - rejected, key=_hash)]
    return good, [by_id[reply_id] for reply_id in sorted(rejected - chosen, key=_hash)]


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def dpo_row(chosen: Row, rejected: Row) -> Row:
    """{prompt_ids, chosen_ids, rejected_ids} from the two rows of supervised training."""
    prompt, answer = halves(chosen)
    return {"prompt_ids": prompt, "chosen_ids": answer, "rejected_ids": halves(rejected)[1]}


def kto_rows(preferences: Sequence[Preference], prompt: str, tokenizer: Any) -> list[dict[str, Any]]:
    """{prompt_ids, completion_ids, label}: label is whether the reply is one to learn.

    Good and bad ones in one hashed order.
    """
    good, bad = unpaired(preferences)
    labelled = sorted(
        [*((answer, True) for answer in good), *((answer, False) for answer in bad)],
        key=lambda pair: _hash(pair[0].id),
    )
    rows, chat = [], chat_of(tokenizer)
    for answer, label in labelled:
        question, reply = halves(token_row(prompt, answer, chat))
        rows.append({"prompt_ids": question, "completion_ids": reply, "label": label})
    return rows


def with_mismatched(rows: Sequence[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    """KTO rows with KL_completion_ids: the reply of the row before in the same batch of size, to measure the
    drift on.
    """
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    return [
        {**row, "KL_completion_ids": batch[place - 1]["completion_ids"]}
        for batch in batches
        for place, row in enumerate(batch)
    ]


def n_tokens(row: Mapping[str, Any]) -> int:
    """Tokens that one row of the trainer puts through the model with a gradient."""
    if "chosen_ids" in row:
        return 2 * len(row["prompt_ids"]) + len(row["chosen_ids"]) + len(row["rejected_ids"])
    return (
        len(row["input_ids"]) if "input_ids" in row else len(row["prompt_ids"]) + len(row["completion_ids"])
    )


def too_few(config: TrainConfig, n_preferences: int) -> str | None:
    """The sentence that says how many there are, how many are needed, and where more come from."""
    if n_preferences >= config.min_preferences:
        return None
    return (
        f"{preferences_path(config)} holds {n_preferences:,} preference pairs, and method: {config.method} "
        "needs "
        f"{config.min_preferences:,} (min_preferences): with fewer it learns the noise of a few tweets. "
        "Collect more tweets, or more "
        "replies per tweet (collect.replies_per_tweet), or loosen the bounds under preferences: in the data "
        "config (min_likes, "
        "like_ratio, max_follower_ratio, max_per_tweet), then run `make data`. Until then train with method: "
        "sft."
    )


def preference_checks(
    config: TrainConfig,
    parts: Parts,
    test: Sequence[Pair],
    tokens: Mapping[str, Sequence[int]],
    rows: Sequence[tuple[Answer, Row]] | None,
    tokenizer: Any | None,
) -> list[Check]:
    """The checks of a preference run, before weights are loaded.

    tokens: of each answer of train and val, prompt included; rows: None where there is no tokenizer.
    """
    everything = [*parts["train"], *parts["val"]]
    shown = {name: answers(part) for name, part in parts.items()}
    turns = "every row is one question and one answer"
    if not parts["train"]:
        return [
            Check(
                "enough preferences",
                too_few(config, len(everything))
                or "all preferences are of one author's tweets. Collect more.",
            )
        ]
    return [
        Check("enough preferences", too_few(config, len(everything))),
        Check(
            "early stopping can fire", cannot_fire(config, schedule(config, n_rows(config, parts["train"])))
        ),
        Check("no preference about a held-out tweet", leakage({"preferences": everything, "test": test})),
        Check(
            "no preference about a test prompt's author",
            prompts_apart(config, {"train": everything, "val": []}),
        ),
        Check("no control token in a preference", controlled(shown)),
        Check("every reply fits max_length", too_long(config, shown, tokens)),
        padding(config, tokenizer),
        trainable(config),
        Check(turns, unknown=no_tokenizer(config))
        if rows is None
        else Check(turns, one_answer(rows, tokenizer)),
    ]


def n_rows(config: TrainConfig, preferences: Sequence[Preference]) -> int:
    """Rows that the trainer sees: pairs for dpo, single replies for kto."""
    return len(preferences) if config.method == "dpo" else sum(len(part) for part in unpaired(preferences))
