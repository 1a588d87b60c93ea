"""Pairs -> what the trainer reads: token ids, and labels that hold the reply and its end token and nothing else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import read_jsonl
from lib.base.schema import Pair, TestPrompt
from lib.base.seals import checked
from lib.base.settings import TrainConfig
from lib.model.chat import CHAT_KWARGS, training_row
from lib.train.preflight import Check, checks, no_tokenizer

IGNORED = -100  # torch's cross-entropy skips this label

Row = dict[str, list[int]]  # input_ids, labels
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


def chat_parts(prompt: str, pair: Pair, tokenizer: Any) -> tuple[str, str]:
    """(the chat up to the answer, empty think block included; `reply<|im_end|>`, which alone is learned), as the template writes them.

    The newline that the template writes after <|im_end|> is left out: no answer contains it.
    """
    row = training_row(prompt, pair)
    chat = tokenizer.apply_chat_template(
        row["prompt"], tokenize=False, add_generation_prompt=True, **CHAT_KWARGS
    )
    whole = tokenizer.apply_chat_template([*row["prompt"], *row["completion"]], tokenize=False, **CHAT_KWARGS)
    if not whole.startswith(chat):
        raise RuntimeError(
            "the chat template writes the prompt otherwise when an answer follows: train and use would differ"
        )
    return chat, whole[len(chat) :].rstrip("\n")


def token_row(prompt: str, pair: Pair, tokenizer: Any) -> Row:
    """{input_ids, labels}, the labels of the prompt IGNORED.

    Prompt and reply are encoded apart, so that the model is trained on exactly the tokens it is given when it answers.
    """
    question, answer = (
        tokenizer(part, add_special_tokens=False)["input_ids"] for part in chat_parts(prompt, pair, tokenizer)
    )
    return {"input_ids": question + answer, "labels": [IGNORED] * len(question) + answer}


def token_rows(config: TrainConfig, pairs: Sequence[Pair], tokenizer: Any) -> list[Row]:
    """One row per pair, in order."""
    return [token_row(config.prompt, pair, tokenizer) for pair in pairs]


def pair_rows(config: TrainConfig, splits: Splits, tokenizer: Any) -> dict[str, list[Row]]:
    """Rows of train and val for supervised training. Raises UserError with the sentences of all checks that fail."""
    rows = {name: token_rows(config, splits[name], tokenizer) for name in ("train", "val")}
    require(config, splits, rows, tokenizer)
    return rows


def require(config: TrainConfig, splits: Splits, rows: dict[str, list[Row]], tokenizer: Any) -> None:
    """The checks of `make plan`, before weights are loaded. Raises UserError with the sentences of those that fail."""
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
    """What must hold of a supervised run. rows: None where the model's tokenizer is not on this machine."""
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
    """Two turns, one learned end and something before it, as the tokenizer sees them: whatever list of control tokens is known here."""
    start, end = tokenizer.convert_tokens_to_ids("<|im_start|>"), tokenizer.eos_token_id
    for pair, row in both:
        learned = [label for label in row["labels"] if label != IGNORED]
        if (
            row["input_ids"].count(start) != 2
            or learned.count(end) != 1
            or learned[-1] != end
            or len(learned) < 2
        ):
            return f"the texts of {pair.id} become control tokens, or leave no reply to learn. Remove the pair (`make data` does)."
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
