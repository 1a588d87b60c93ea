"""The validation loss: sums and counts of every row, put together at the end.

The trainers' own is a mean of the batches' means, which changes with the size of a batch (4.47 to 4.37 for
one adapter). This one does not, nor with padding, backend or number of processes; perplexity is measured by
the same function (lib.model.losses).
"""

import math
from collections import ChainMap
from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from lib.model.adapters import REFERENCE
from lib.model.loading import answering
from lib.model.losses import Row, RowLoss, batches, per_token, row_losses, with_given
from lib.model.overlap import diversity
from lib.train.distributed import n_processes, of_all, rank
from lib.train.job import Job
from lib.train.preference_rows import n_tokens, with_mismatched
from lib.train.schedule import N_REPLIES, REPLY_TOKENS
from lib.train.validation import greedy_replies, validation_tweets, write_samples

Metrics = dict[str, float]


def by_token(trainer: Any, job: Job) -> Callable[..., Any]:
    """An evaluation_loop for the trainer: the validation rows of the job, by length, in large batches."""
    from transformers.trainer_utils import EvalLoopOutput

    rows = spread(job.rows["val"], job.n_evaluated)
    measure = {"sft": supervised, "dpo": preferred, "kto": desirable}[job.config.method]

    def evaluation_loop(*_: Any, metric_key_prefix: str = "eval", **__: Any) -> Any:
        model = trainer.model
        with answering(model, job.batch.checkpointing):
            found = measure(model, rows, trainer.args)
        found |= answered(model, job, trainer.state.global_step)
        model.eval()  # as the trainer's own loop leaves it: TRL logs by the mode of the model
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        return EvalLoopOutput(predictions=None, label_ids=None, metrics=metrics, num_samples=len(rows))

    return evaluation_loop


def spread(rows: Sequence[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """n of the rows, the same every time: evenly spaced from the shortest to the longest, in their order."""
    by_length = sorted(range(len(rows)), key=lambda place: n_tokens(rows[place]))
    return [rows[place] for place in sorted(by_length[k * len(rows) // n] for k in range(n))]


def answered(model: Any, job: Job, step: int) -> Metrics:
    """distinct_2 and alike of replies to the first validation tweets, which samples.jsonl keeps."""
    replies = _replies(model, job)
    write_samples(job, step, replies)
    found = asdict(diversity(list(replies.values())))
    return {name: value for name, value in found.items() if value is not None}


def _replies(model: Any, job: Job) -> dict[str, str]:
    """tweet_id -> the opening of a reply, of the first validation tweets; each process answers some."""
    tweets = dict(list(validation_tweets(job).items())[:N_REPLIES])
    own = list(tweets)[rank() :: n_processes()]
    answers = greedy_replies(model, job, [tweets[one] for one in own], REPLY_TOKENS) if own else []
    found = ChainMap(*of_all(dict(zip(own, answers, strict=True))))
    return {one: found[one] for one in tweets}


def _measured(model: Any, rows: Sequence[Row]) -> list[RowLoss]:
    """The losses of all rows, of which each process computes its share of the batches."""
    own = row_losses(model, rows, batches(rows)[rank() :: n_processes()])
    found = {place: loss for part in of_all(own) for place, loss in part.items()}
    return [found[place] for place in range(len(rows))]


def supervised(model: Any, rows: Sequence[dict[str, Any]], _: Any) -> Metrics:
    """Loss per learned token, entropy, and the share of tokens that were the likeliest."""
    return metrics_of(_measured(model, with_given(rows)))


def metrics_of(losses: Sequence[RowLoss]) -> Metrics:
    """The metrics of supervised training, from the losses of all its rows."""
    return {"loss": per_token(losses), **_certainty(losses, losses)}


def _certainty(losses: Sequence[RowLoss], learned: Sequence[RowLoss]) -> Metrics:
    n_tokens, n_learned = (sum(one.n_tokens for one in part) for part in (losses, learned))
    return {
        "entropy": math.fsum(one.entropy for one in losses) / n_tokens,
        "mean_token_accuracy": sum(one.n_right for one in learned) / n_learned,
    }


def preferred(model: Any, rows: Sequence[dict[str, Any]], settings: Any) -> Metrics:
    """DPO's loss and rewards over all pairs, as TRL has them for one batch of them all."""
    texts = [
        (row["prompt_ids"] + row[name], len(row["prompt_ids"]))
        for name in ("chosen_ids", "rejected_ids")
        for row in rows
    ]
    policy, gains = _against_reference(model, texts)
    chosen, rejected = gains[: len(rows)], gains[len(rows) :]
    margins = [settings.beta * (one - other) for one, other in zip(chosen, rejected, strict=True)]
    of = dict(zip(settings.loss_type, settings.loss_weights, strict=True))
    likelihood = per_token(policy[: len(rows)]) or 0.0
    return {
        "loss": of["sigmoid"] * fmean(map(_softplus, margins)) + of["sft"] * likelihood,
        "rewards/chosen": settings.beta * fmean(chosen),
        "rewards/rejected": settings.beta * fmean(rejected),
        "rewards/margins": fmean(margins),
        "rewards/accuracies": fmean(margin > 0 for margin in margins),
        **_certainty(policy, policy[: len(rows)]),
    }


def desirable(model: Any, rows: Sequence[dict[str, Any]], settings: Any) -> Metrics:
    """KTO's loss and rewards over all replies; the drift too is that of all of them, not of a batch."""
    texts = [
        (row["prompt_ids"] + row[name], len(row["prompt_ids"]))
        for name in ("completion_ids", "KL_completion_ids")
        for row in with_mismatched(rows, len(rows))
    ]
    policy, gains = _against_reference(model, texts)
    own, drift = gains[: len(rows)], max(0.0, fmean(gains[len(rows) :]))
    losses = [
        settings.desirable_weight * _sigmoid(settings.beta * (drift - gain))
        if row["label"]
        else settings.undesirable_weight * _sigmoid(settings.beta * (gain - drift))
        for row, gain in zip(rows, own, strict=True)
    ]
    found = {"loss": fmean(losses), "kl": drift, **_certainty(policy[: len(rows)], policy[: len(rows)])}
    for name, label in (("chosen", True), ("rejected", False)):
        if rewards := [
            settings.beta * gain for row, gain in zip(rows, own, strict=True) if row["label"] is label
        ]:
            found[f"rewards/{name}"] = fmean(rewards)
    if {"rewards/chosen", "rewards/rejected"} <= set(found):
        found["rewards/margins"] = found["rewards/chosen"] - found["rewards/rejected"]
    return found


def _against_reference(model: Any, rows: Sequence[Row]) -> tuple[list[RowLoss], list[float]]:
    """(losses, log-probability of each row above what the frozen reference gives it)."""
    from trl.trainer.utils import use_adapter

    policy = _measured(model, rows)
    with use_adapter(model, REFERENCE):
        reference = _measured(model, rows)
    return policy, [before.nats - after.nats for after, before in zip(policy, reference, strict=True)]


def _softplus(margin: float) -> float:
    """-log sigmoid(margin)."""
    return math.log1p(math.exp(-abs(margin))) + max(0.0, -margin)


def _sigmoid(value: float) -> float:
    return math.exp(-_softplus(value))
