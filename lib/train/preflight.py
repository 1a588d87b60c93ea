"""Checks before weights are loaded or a GPU is paid for. Each answers with a sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lib.base.errors import UserError
from lib.base.schema import Pair
from lib.base.settings import TrainConfig
from lib.data.control_tokens import control_tokens
from lib.model.chat import chat_of
from lib.model.shapes import local_config, refuse_missing_targets, shape_from, shape_of
from lib.train.schedule import cannot_fire, schedule

N_NAMED = 3


@dataclass(frozen=True)
class Check:
    """name: a few words. problem: the sentence that says what is wrong and what to do; None if all is well.

    unknown: why it could not be looked at here; None if it was.
    """

    name: str
    problem: str | None = None
    unknown: str | None = None


def checks(
    config: TrainConfig,
    splits: Mapping[str, Sequence[Pair]],
    n_tokens: Mapping[str, Sequence[int]],
    tokenizer: Any | None,
) -> list[Check]:
    """The checks of a supervised run that need no token ids.

    splits: train, val, test. n_tokens: tokens per row of train and val, in the order of splits.
    tokenizer: None where the model's own is not on this machine.
    """
    train, val = splits["train"], splits["val"]
    return [
        Check("rows to train and validate on", _rows(train, val)),
        Check("early stopping can fire", cannot_fire(config, schedule(config, len(train)))),
        Check("no author or tweet in two splits", leakage(splits)),
        Check("no control token in a text", controlled(splits)),
        Check("every row fits max_length", too_long(config, splits, n_tokens)),
        padding(config, tokenizer),
        trainable(config),
    ]


def _rows(train: Sequence[Pair], val: Sequence[Pair]) -> str | None:
    empty = [name for name, pairs in (("train", train), ("val", val)) if not pairs]
    return (
        f"processed/{empty[0]}.jsonl is empty. Collect more pairs, or loosen the filters, then run `make "
        "data`."
        if empty
        else None
    )


def leakage(splits: Mapping[str, Sequence[Pair]]) -> str | None:
    """A tweet or its author that stands in two splits: the model would be tested on what it has seen."""
    for field, what in (("tweet_id", "tweet"), ("tweet_author", "author")):
        seen: dict[str, str] = {}
        for name, pairs in splits.items():
            for pair in pairs:
                value = str(getattr(pair, field)).casefold()
                if seen.setdefault(value, name) != name:
                    return (
                        f"the {what} {getattr(pair, field)} is in {seen[value]} and in {name}. Run `make "
                        "data` again: splits go by author."
                    )
    return None


def controlled(splits: Mapping[str, Sequence[Pair]]) -> str | None:
    """A text that the tokenizer, or a server, would read as control tokens."""
    for name, pairs in splits.items():
        for pair in pairs:
            for field in ("tweet", "reply"):
                if found := control_tokens(getattr(pair, field)):
                    return (
                        f"the {field} of {pair.id} in {name} contains the control token {found[0]}. Remove "
                        "the pair (`make data` does)."
                    )
    return None


def too_long(
    config: TrainConfig, splits: Mapping[str, Sequence[Pair]], n_tokens: Mapping[str, Sequence[int]]
) -> str | None:
    """Rows that would be cut, or dropped without a word by the trainer."""
    long = [
        (pair.id, n)
        for name in ("train", "val")
        for pair, n in zip(splits[name], n_tokens[name], strict=True)
        if n > config.max_length
    ]
    if not long:
        return None
    named = ", ".join(f"{pair_id} ({n} tokens)" for pair_id, n in long[:N_NAMED]) + (
        ", ..." if len(long) > N_NAMED else ""
    )
    longest = max(n for _, n in long)
    return (
        f"{len(long)} rows are longer than max_length {config.max_length}: {named}. Set max_length to "
        f"{longest} or drop them in review."
    )


def padding(config: TrainConfig, tokenizer: Any | None) -> Check:
    """With one token for both, the end is masked as padding and the model never learns to stop."""
    name = "padding is not the end token"
    if tokenizer is None:
        return Check(name, unknown=no_tokenizer(config))
    end = chat_of(tokenizer).end
    advice = "Set the tokenizer's pad_token to one that is not the end token, for Qwen3 <|endoftext|>."
    if tokenizer.pad_token is None:
        return Check(name, f"the tokenizer has no padding token. {advice}")
    if tokenizer.pad_token == end:
        problem = f"padding and end are the same token ({end}): the end would be masked"
        return Check(name, f"{problem} and the model would never stop. {advice}")
    return Check(name)


def trainable(config: TrainConfig) -> Check:
    """The model has sizes and layers that the adapter and the estimates are made for."""
    name = "the model has the layers that are trained"
    try:
        found = local_config(config)
        if found is not None:
            shape_from(found, config.model)
            refuse_missing_targets(found, config)
        elif shape_of(config) is None:
            return Check(name, unknown=f"the config of {config.model} is not on this machine")
    except UserError as error:
        return Check(name, str(error))
    return Check(name)


def no_tokenizer(config: TrainConfig) -> str:
    """The reason of a check that is unknown."""
    return (
        f"the tokenizer of {config.model} is not on this machine; `make train` looks before it loads weights"
    )
