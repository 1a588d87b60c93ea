"""Rows for a plan before there are data, as long as real ones: the price is known early."""

from dataclasses import dataclass
from pathlib import Path

from lib.base.config import load_config
from lib.base.settings import DataConfig, SplitConfig, TrainConfig
from lib.data.ready import command_in
from lib.model.base_model import local_tokenizer
from lib.train.needs import Tokens
from lib.train.plan import page
from lib.train.preflight import Check, padding, trainable
from lib.train.random_model import typical_lengths
from lib.train.schedule import cannot_fire, schedule

N_PAIRS = 1_000
NOTE = """\
Reckoned without data: {why}.
This page is for {n:,} assumed pairs, in rows as long as real ones: half up to 75 tokens, 95 % up to 100
(2,805 public pairs of tweet and reply, counted in the same way: 67 and 85)."""


@dataclass(frozen=True)
class Example:
    """A pair to show, invented."""

    tweet: str = "I finally fixed the old bike, and now I am looking for reasons to ride somewhere."
    reply: str = "The bakery two towns over counts as a reason. It always counts."


def assumed_page(run: str, config: TrainConfig, why: str, colour: bool) -> str:
    """The plan's page on assumed rows. why: what is missing, and the command that makes it."""
    tokens, tokenizer = assumed_tokens(config), local_tokenizer(config)
    found = [
        Check("early stopping can fire", cannot_fire(config, schedule(config, len(tokens["train"])))),
        padding(config, tokenizer),
        trainable(config),
        Check("the data set's own checks", unknown="there are no data yet"),
    ]
    note = NOTE.format(why=why, n=N_PAIRS)
    following = f"next: {command_in(why)}"
    return "\n\n".join([note, page(run, config, [Example()], tokens, tokenizer, found, colour), following])


def assumed_tokens(config: TrainConfig) -> Tokens:
    """(prompt, reply) tokens of the rows of train and val; a row of dpo is two conversations."""
    path, rows = Path("configs") / f"data-{config.data}.yaml", typical_lengths(N_PAIRS)
    split = load_config(path, DataConfig).split if path.is_file() else SplitConfig()
    if config.method == "dpo":
        rows = [(2 * prompt, 2 * reply) for prompt, reply in rows]
    n_val, n_test = round(split.val * N_PAIRS), round(split.test * N_PAIRS)
    return {"train": rows[: N_PAIRS - n_val - n_test], "val": rows[-n_val:]}
