"""Pairs -> what the trainer reads: token ids, and labels that hold reply and end token and nothing else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import read_jsonl
from lib.base.schema import Pair, TestPrompt
from lib.base.seals import checked
from lib.base.settings import TrainConfig
from lib.model.chat import Chat, Row, chat_of, messages
from lib.train.preflight import Check, checks, no_tokenizer

Splits = dict[str, list[Pair]]


def read_splits(config: TrainConfig) -> Splits:
    """train and val, and test where it is there. Raises UserError if the data set has not been built."""
    folder = Path("data") / config.data / "processed"
    if not (folder / "train.jsonl").is_file():
        raise UserError(f"{folder}/train.jsonl does not exist. Run `make data DATA={config.data}` first.")
    splits = {name: read_jsonl(checked(folder / f"{name}.jsonl"), Pair) for name in ("train", "val")}
    test = checked(folder / "test.jsonl")
    splits["test"] = read_jsonl(test, Pair) if test.is_file() else []
    return splits


def token_row(prompt: str, pair: Pair, chat: Chat) -> Row:
    """{input_ids, labels} of one pair: the question as it is asked later, and the reply, which alone is
    learned.
    """
    return chat.row(messages(prompt, pair.tweet), pair.reply)


def token_rows(config: TrainConfig, pairs: Sequence[Pair], tokenizer: Any) -> list[Row]:
    """One row per pair, in order. Raises UserError for a chat template that this project cannot train on."""
    chat = chat_of(tokenizer)
    return [token_row(config.prompt, pair, chat) for pair in pairs]


def pair_rows(config: TrainConfig, splits: Splits, tokenizer: Any) -> dict[str, list[Row]]:
    """Rows of train and val for supervised training.

    Raises UserError with the sentences of all checks that fail.
    """
    rows = {name: token_rows(config, splits[name], tokenizer) for name in ("train", "val")}
    require(config, splits, rows, tokenizer)
    return rows


def require(config: TrainConfig, splits: Splits, rows: dict[str, list[Row]], tokenizer: Any) -> None:
    """The checks of `make plan`, before weights are loaded.

    Raises UserError with the sentences of those that fail.
    """
    n_tokens = {name: [len(row["input_ids"]) for row in rows[name]] for name in ("train", "val")}
    if failed := [check for check in all_checks(config, splits, n_tokens, rows, tokenizer) if check.problem]:
        raise UserError("\n".join(f"{check.name}: no. {check.problem}" for check in failed))


def all_checks(
    config: TrainConfig,
    splits: Splits,
    n_tokens: Mapping[str, Sequence[int]],
    rows: dict[str, list[Row]] | None,
    tokenizer: Any,
) -> list[Check]:
    """The checks of a supervised run. rows: None where the model's tokenizer is not on this machine."""
    name = "every row is one question and one answer"
    if rows is None:
        turns = Check(name, unknown=no_tokenizer(config))
    else:
        both = [
            (pair, row)
            for part in ("train", "val")
            for pair, row in zip(splits[part], rows[part], strict=True)
        ]
        turns = Check(name, one_answer(both, tokenizer))
    held_out = Check("no test prompt's author in train or val", prompts_apart(config, splits))
    return [*checks(config, splits, n_tokens, tokenizer), held_out, turns]


def one_answer(both: list[tuple[Pair, Row]], tokenizer: Any) -> str | None:
    """Two turns, one learned end and something before it, as the tokenizer sees them: its own control tokens
    count.
    """
    chat = chat_of(tokenizer)
    for pair, row in both:
        if not chat.is_one_answer(row):
            return (
                f"the texts of {pair.id} become control tokens, or leave no reply to learn. "
                "Remove the pair (`make data` does)."
            )
    return None


def prompts_apart(config: TrainConfig, splits: Splits) -> str | None:
    """Held-out tweets may have no kept reply, so that test.jsonl does not show them."""
    path = checked(Path("data") / config.data / "processed" / "test_prompts.jsonl")
    held_out = (
        {prompt.tweet_author.casefold() for prompt in read_jsonl(path, TestPrompt)}
        if path.is_file()
        else set()
    )
    both = sorted(
        held_out & {pair.tweet_author.casefold() for name in ("train", "val") for pair in splits[name]}
    )
    return (
        f"{both[0]} wrote a test prompt and a tweet to train on. Run `make data` again: splits go by author."
        if both
        else None
    )
