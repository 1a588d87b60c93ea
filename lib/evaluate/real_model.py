"""A trial on a real language model: SmolLM2 trained on a data set, and what it says about held-out replies.

The numbers are measured on the test pairs, which neither training nor the choice of a checkpoint has seen.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.base.benchmarks import machine_line, markdown_table
from lib.base.files import read_json, read_jsonl, write_text
from lib.base.schema import Pair
from lib.evaluate.report import read_report
from lib.train.manifest import read_manifest

if TYPE_CHECKING:
    import numpy as np

RUN = "smollm2"
DATA = "real"
LEAST_FALL = 0.2  # of the loss on held-out replies, nats a token
N_RESAMPLES = 2000
# Threads of 2014 to 2016: the production thresholds would leave two pairs of them.
REAL_DATA = """\
collect: {source: files, target_pairs: 300, min_pairs: 1}
filter:
  tweet_likes: [20, 2000]
  tweet_retweets: [10, 5000]
  reply_likes: [1, 1000]
  reply_author_followers: [50, 100000]
  reply_delay_seconds: [60, 604800]
  toxicity_model: none
  tweet_media: true
  tweet_url: true
  max_replies_per_author: null
  max_replies_per_tweet: null
  promotion: keep
  filler: keep
clean: {similarity_threshold: 0.9, embedding_model: char-ngrams}
review: optional
split: {val: 0.15, test: 0.2, min_test_prompts: 10, seed: 17}
"""
EVAL = """\
systems: [base, tuned]
sampling: {temperature: 0.7, top_p: 0.8, top_k: 20, max_new_tokens: 40, seed: 17}
judge: {kind: offline, orders: both, repeats: 1}
"""


@dataclass(frozen=True)
class Loss:
    """The loss per token of all held-out replies, nats: of base and tuned, and its fall.

    Each is (low, value, high), with a 95% interval.
    """

    n: int
    base: tuple[float, float, float]
    tuned: tuple[float, float, float]
    fall: tuple[float, float, float]

    @property
    def learned(self) -> bool:
        """True if the fall is large enough and clear of zero."""
        return self.fall[1] >= LEAST_FALL and self.fall[0] > 0


def write_workspace(folder: Path, root: Path, items: Path | None, short: bool) -> None:
    """configs/ and data/ of the trial. items: real tweets, in the shape of a provider; None: the sample."""
    (folder / "data").mkdir(parents=True)
    shutil.copytree(root / "configs", folder / "configs")
    raw = folder / "data" / DATA / "raw"
    if items is None:
        shutil.copytree(root / "data" / "sample" / "raw", raw)
        write_text(
            folder / f"configs/data-{DATA}.yaml",
            (root / "configs/data-sample.yaml").read_text(encoding="utf-8"),
        )
    else:
        raw.mkdir(parents=True)
        shutil.copy(items, raw)
        write_text(folder / f"configs/data-{DATA}.yaml", REAL_DATA)
    write_text(folder / f"configs/eval-{RUN}.yaml", EVAL)
    if short:
        path = folder / f"configs/train-{RUN}.yaml"
        changed = path.read_text(encoding="utf-8").replace("epochs: 2", "epochs: 1")
        write_text(
            path, changed.replace("early_stopping: {patience: 3, threshold: 0.0}", "early_stopping: null")
        )
    (folder / "data" / "cache").symlink_to((root / "data" / "cache").resolve())


def steps(short: bool) -> dict[str, list[list[str]]]:
    """part -> the scripts that it takes, in order. short: nothing is answered or judged."""
    data, train = f"configs/data-{DATA}.yaml", ["--config", f"configs/train-{RUN}.yaml", "--data", DATA]
    parts = {
        "data": [
            [f"scripts.{name}", "--config", data] for name in ("collect", "pair", "filter", "clean", "split")
        ],
        "training": [["scripts.train", *train]],
    }
    if short:
        return parts
    evaluation = [*train, "--eval", f"configs/eval-{RUN}.yaml"]
    return parts | {
        "evaluation": [[f"scripts.{name}", *evaluation] for name in ("generate", "judge", "report")]
    }


def held_out_loss(folder: Path) -> Loss:
    """The loss on the test pairs of the trial in folder."""
    from lib.base.config import load_config
    from lib.base.settings import TrainConfig
    from lib.model.chat import chat_of
    from lib.model.loading import load_for_inference
    from lib.model.losses import completion_row, token_losses

    config = load_config(folder / f"configs/train-{RUN}.yaml", TrainConfig)
    pairs = read_jsonl(folder / "data" / DATA / "processed" / "test.jsonl", Pair)
    loaded = load_for_inference(folder / "adapters" / RUN, config)
    chat = chat_of(loaded.tokenizer)
    rows = [completion_row(chat, pair, config.prompt) for pair in pairs]
    base, tuned = (token_losses(loaded, rows, tuned=arm) for arm in (False, True))
    sums = [[one.nats for one in base], [one.nats for one in tuned], [one.n_tokens for one in base]]
    return with_intervals(sums, [pair.tweet_author for pair in pairs])


def with_intervals(sums: Sequence[Sequence[float]], authors: Sequence[str]) -> Loss:
    """sums: of each pair nats of base, nats of tuned, tokens. Tweets of an author are resampled together."""
    import numpy as np

    _, author = np.unique(list(authors), return_inverse=True)
    by_author = np.stack([np.bincount(author, weights=row) for row in np.asarray(sums, dtype=float)])
    draw = np.random.default_rng(17).integers(by_author.shape[1], size=(N_RESAMPLES, by_author.shape[1]))
    base, tuned, n_tokens = by_author[:, draw].sum(axis=2)
    whole = by_author.sum(axis=1)

    def of(value: float, resampled: "np.ndarray") -> tuple[float, float, float]:
        low, high = np.quantile(resampled, (0.025, 0.975))
        return float(low), float(value), float(high)

    return Loss(
        len(authors),
        of(whole[0] / whole[2], base / n_tokens),
        of(whole[1] / whole[2], tuned / n_tokens),
        of((whole[0] - whole[1]) / whole[2], (base - tuned) / n_tokens),
    )


def trial_page(folder: Path, loss: Loss, minutes: dict[str, float], on_real: bool, load: float) -> str:
    """The table of the trial, as Markdown."""
    manifest = read_manifest(folder / "adapters" / RUN / "manifest.json")
    course = " → ".join(f"{value:.3f}" for _, value in manifest.eval_losses)
    copied = manifest.memorisation
    rows: list[tuple[str, Any]] = [
        ("rows: train, validation, test", f"{manifest.n_train}, {manifest.n_val}, {loss.n}"),
        ("optimiser steps, rows a step", f"{manifest.steps}, {manifest.config['effective_batch']}"),
        ("validation loss, nats a token", course),
        ("loss on test replies, base → tuned", f"{loss.base[1]:.3f} → {loss.tuned[1]:.3f}"),
        ("its fall, 95% interval", f"{loss.fall[1]:.3f} ({loss.fall[0]:.3f} to {loss.fall[2]:.3f})"),
        ("perplexity of test replies, base", _perplexity(loss.base)),
        ("perplexity of test replies, tuned", _perplexity(loss.tuned)),
        ("gap of training and validation loss", f"{manifest.train_eval_gap:+.3f}"),
        (
            "recites 8 words of training, base, tuned",
            f"{_share(copied.base)}, {_share(copied.tuned)} of {copied.n}",
        ),
    ]
    if (report := folder / "adapters" / RUN / "eval" / RUN / "report.json").is_file():
        general = read_json(report.with_name("model_metrics.json"))["forgetting"]
        means = [sum(general[arm]) / len(general[arm]) for arm in ("base", "tuned")]
        found = read_report(report)
        rows += [
            ("loss on general texts, base → tuned", f"{means[0]:.3f} → {means[1]:.3f}"),
            ("verdict of the offline judge", f"{found.gate.verdict}, {found.n_prompts} tweets"),
        ]
    if manifest.evaluation_share is not None:
        rows.append(("share of the training time in evaluations", f"{manifest.evaluation_share:.0%}"))
    rows += [(f"minutes: {part}", f"{value:.1f}") for part, value in minutes.items()]
    kind = (
        "real tweets of 2014 to 2016 with their replies"
        if on_real
        else "the bundled synthetic sample: real tweets were not on this machine"
    )
    about = (
        f"SmolLM2-135M-Instruct (from 4 bits, held in bf16), LoRA rank {manifest.config['lora']['rank']}, "
        f"{kind}. All figures are measured. Minutes: of a machine that had other work too (load {load:.0f} "
        "at the start)."
    )
    machine = machine_line("torch", "transformers", "trl", "peft")
    return "\n\n".join([about, markdown_table(["", "measured"], rows), f"{machine}."])


def _perplexity(loss: tuple[float, float, float]) -> str:
    import math

    low, value, high = map(math.exp, loss)
    return f"{value:.1f} ({low:.1f} to {high:.1f})"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
