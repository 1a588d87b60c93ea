"""A finished run's answers to validation tweets, base and tuned: learned by heart, and written how?"""

import functools
import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

from lib.base.files import append_line, read_dicts, read_json, write_json
from lib.model.adapters import ADAPTER_FILE, fill_adapter
from lib.model.base_model import precision_of
from lib.model.chat import chat_of, messages
from lib.model.generate import clean_reply
from lib.model.loading import Loaded, answering, load_model_for_training
from lib.model.losses import batches, perplexity, perplexity_of, with_given
from lib.model.overlap import COPIED_WORDS, copied_share, learned_runs
from lib.model.sampling import end_ids, left_padded
from lib.train.checkpoints import best_steps, watched
from lib.train.distributed import is_first
from lib.train.job import Job
from lib.train.manifest import Memorisation
from lib.train.mlx_model import MlxModel

SAMPLE_TOKENS = 60
N_SAMPLES = 5
N_TWEETS = 50  # validation tweets that a finished run answers, as base and as tuned
TWEETS_PER_BATCH = 25
MAX_SECONDS = 120  # of answering, base and tuned together: a CPU must not spend longer on it than on training


def greedy_replies(model: Any, job: Job, tweets: Sequence[str], n_tokens: int = SAMPLE_TOKENS) -> list[str]:
    """One greedy reply per tweet, all in one batch; of what a model writes after its turn nothing counts."""
    chat = chat_of(job.tokenizer)
    rows = [chat.prompt(messages(job.config.prompt, tweet)) for tweet in tweets]
    write = model.greedy if job.backend == "mlx" else functools.partial(_greedy, model, job)
    written = write(rows, end_ids(model, chat), n_tokens)
    return [clean_reply(job.tokenizer.decode(row), chat)[0] for row in written]


def _greedy(
    model: Any, job: Job, prompts: Sequence[Sequence[int]], ends: set[int], n_tokens: int
) -> list[list[int]]:
    """The likeliest tokens after each prompt, up to an end token, which is left out."""
    ids, mask = left_padded(prompts, job.tokenizer, model.device)
    with answering(model, job.batch.checkpointing):
        output = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=n_tokens,
            do_sample=False,
            use_cache=True,
            eos_token_id=sorted(ends),
        )
    return [
        list(itertools.takewhile(lambda token: token not in ends, row))
        for row in output[:, ids.shape[1] :].tolist()
    ]


def validation_tweets(job: Job) -> dict[str, str]:
    """tweet_id -> tweet of the validation set, by id."""
    return {pair.tweet_id: pair.tweet for pair in sorted(job.splits["val"], key=lambda pair: pair.tweet_id)}


def write_samples(job: Job, step: int, replies: Mapping[str, str]) -> None:
    """samples.jsonl: an evaluation's replies to the first few tweets, before training and at the first
    evaluation after each epoch.
    """
    path, epoch = job.folder / "samples.jsonl", step // job.plan.steps_per_epoch
    before = read_dicts(path, torn_tail=True) if path.exists() else []
    if is_first() and epoch not in {line["epoch"] for line in before}:
        for tweet_id, reply in list(replies.items())[:N_SAMPLES]:
            append_line(path, {"step": step, "epoch": epoch, "tweet_id": tweet_id, "reply": reply})


class LastAnswers:
    """validation.json, from the best checkpoint, when the last step is done and the model still in memory."""

    def __init__(self, job: Job, model: Any, is_over: Any) -> None:
        self.job, self.model, self.is_over = job, model, is_over

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero and self.is_over(self.job, state.log_history, state.global_step):
            best = best_steps(watched(state.log_history, self.job.watch), 1)[0]
            answer_validation(self.job, best, self.model)


def answer_validation(job: Job, best: int, model: Any) -> dict[str, Any]:
    """Write validation.json: {step, perplexity, replies: [{tweet_id, base, tuned}]}.

    Up to N_TWEETS tweets, and no batch is begun after MAX_SECONDS.
    """
    fill = model.fill if job.backend == "mlx" else functools.partial(fill_adapter, model)
    fill(job.checkpoints / f"checkpoint-{best}" / ADAPTER_FILE)
    tweets = list(validation_tweets(job).items())[:N_TWEETS]
    start, replies = time.monotonic(), []
    for place in range(0, len(tweets), TWEETS_PER_BATCH):
        if time.monotonic() - start > MAX_SECONDS:
            break
        batch = tweets[place : place + TWEETS_PER_BATCH]
        tuned = greedy_replies(model, job, [tweet for _, tweet in batch])
        with model.disable_adapter():
            base = greedy_replies(model, job, [tweet for _, tweet in batch])
        replies += [
            {"tweet_id": tweet_id, "base": one, "tuned": other}
            for (tweet_id, _), one, other in zip(batch, base, tuned, strict=True)
        ]
    found = {"step": best, "perplexity": _perplexity(job, model), "replies": replies}
    write_json(job.folder / "validation.json", found)
    return found


def _perplexity(job: Job, model: Any) -> float | None:
    """Of all human validation replies; None where the evaluations have measured it.

    The loss of preferences is no likelihood, so dpo and kto have to measure it; so has a run whose
    evaluations read a part of the rows.
    """
    if job.config.method == "sft" and job.n_evaluated == len(job.rows["val"]):
        return None
    if job.backend == "mlx":
        rows = with_given(job.rows["val"])
        return perplexity_of(model.row_losses(rows, batches(rows)).values())
    precision = precision_of(job.config, job.device)
    loaded = Loaded(model, job.tokenizer, "transformers", precision, job.device, job.config.model)
    with answering(model, job.batch.checkpointing):
        return perplexity(loaded, job.splits["val"], job.config.prompt, tuned=True)


def answered_validation(job: Job, best: int) -> dict[str, Any]:
    """validation.json of checkpoint best; made with a newly loaded model where a kill came before it."""
    path = job.folder / "validation.json"
    found = read_json(path) if path.is_file() else {}
    if found.get("step") == best:
        return found
    if job.backend == "mlx":
        return answer_validation(job, best, MlxModel(job.base, job.batch.checkpointing))
    model, _ = load_model_for_training(job.base, job.batch.checkpointing)
    return answer_validation(job, best, model)


def memorisation(job: Job, found: dict[str, Any]) -> Memorisation:
    """The shares of validation.json's answers that repeat a run of words of a training reply."""
    learned = learned_runs(pair.reply for pair in job.splits["train"])
    shares = {
        name: copied_share([reply[name] for reply in found["replies"]], learned) for name in ("base", "tuned")
    }
    return Memorisation(words=COPIED_WORDS, n=len(found["replies"]), **shares)


def memorisation_line(found: Memorisation) -> str:
    """copies 8+ words of a training reply: tuned 2%, base 0% (50 validation tweets)"""
    base, tuned = (
        "nothing written" if share is None else f"{share:.0%}" for share in (found.base, found.tuned)
    )
    return (
        f"copies {found.words}+ words of a training reply: tuned {tuned}, base {base} ({found.n} validation "
        "tweets)"
    )
