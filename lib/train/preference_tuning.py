"""Preference tuning with TRL's DPO and KTO trainers, from a finished supervised run, never a fresh adapter.

The frozen reference is the supervised run itself. TRL makes it as a copy of the adapter when the trainer is
built, which is before a checkpoint is loaded, so that a resumed run has the same one. Without the copy TRL
would silently compare with the base model: `check_reference` and `SameAtStart` hold that it does not, under
either backend (Unsloth rewrites the trainers' source on import).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.settings import TrainConfig
from lib.model.adapters import ADAPTER, ADAPTER_FILE, REFERENCE, fill_adapter, whole_adapter
from lib.model.base_model import settled
from lib.train.fingerprint import data_hashes, start_of
from lib.train.job import Batch, Job
from lib.train.manifest import BeforeAfter, Manifest
from lib.train.preference_rows import (
    Parts,
    answers,
    dpo_row,
    kto_rows,
    parts_of,
    preference_checks,
    read_preferences,
    too_few,
    unpaired,
    with_mismatched,
)
from lib.train.rows import Splits, token_rows
from lib.train.sft import shared_arguments

# Beside the preference loss the likelihood of the chosen reply: without it DPO may lower both, the rejected
# one only more (Pang et al. 2024, arXiv:2404.19733).
DPO_LOSSES = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 1.0]}
SAME_NATS = (
    0.5  # of a whole reply's log-probability: more than bf16 rounding, far less than a fine-tune moves it
)
SHARED = (
    "model",
    "revision",
    "quantization",
    "prompt",
)  # in which a run and the run it starts from must agree
SHARED_LORA = ("rank", "alpha", "target_modules")


def check_start(config: TrainConfig) -> None:
    """Raise UserError unless init_adapter is a finished supervised run of this model, prompt and data."""
    start, folder = start_of(config), Path("adapters") / str(config.init_adapter)
    before, now = start.config, settled(config, start.config).model_dump(mode="json")
    if before["method"] != "sft":
        raise UserError(
            f"init_adapter: {folder} was trained with method: {before['method']}. Name a run with method: "
            "sft."
        )
    differing = [f"{key} ({before.get(key)} -> {now[key]})" for key in SHARED if before.get(key) != now[key]]
    differing += [
        f"lora.{key} ({before['lora'][key]} -> {now['lora'][key]})"
        for key in SHARED_LORA
        if before["lora"][key] != now["lora"][key]
    ]
    if differing:
        raise UserError(
            f"init_adapter: {folder} was trained with another {', '.join(differing)}. Its weights only fit "
            f"its own settings: write `extends: {config.init_adapter}` and leave these keys out."
        )
    hashes = data_hashes(config)
    if any(start.data_hashes.get(name) != hashes[name] for name in ("train", "val")):
        raise UserError(
            f"init_adapter: data/{config.data} has changed since {folder} was trained, so that it may have "
            "learned what is held out now. Train it again under a new name (`make train RUN=<name>`), then "
            "name that one."
        )
    whole_adapter(folder / "manifest.json")


def preference_rows(config: TrainConfig, splits: Splits, tokenizer: Any) -> dict[str, list[dict[str, Any]]]:
    """Rows of train and val for TRL.

    Raises UserError with the sentences of all checks that fail, before weights are loaded.
    """
    preferences = read_preferences(config)
    if problem := too_few(config, len(preferences)):
        raise UserError(problem)
    check_start(config)
    parts = parts_of(preferences)
    shown = {name: answers(part) for name, part in parts.items()}
    rows = {name: token_rows(config, part, tokenizer) for name, part in shown.items()}
    tokens = {name: [len(row["input_ids"]) for row in part] for name, part in rows.items()}
    both = [pair for name in rows for pair in zip(shown[name], rows[name], strict=True)]
    found = preference_checks(config, parts, splits["test"], tokens, both, tokenizer)
    if failed := [check for check in found if check.problem]:
        raise UserError("\n".join(f"{check.name}: no. {check.problem}" for check in failed))
    if config.method == "kto":
        return {name: kto_rows(part, config.prompt, tokenizer) for name, part in parts.items()}
    return {
        name: [dpo_row(*part[place : place + 2]) for place in range(0, len(part), 2)]
        for name, part in rows.items()
    }


def weights_of(parts: Parts) -> tuple[float, float]:
    """(desirable, undesirable): the rarer kind of reply weighs more, so that both weigh the same in all."""
    good, bad = (max(1, len(part)) for part in unpaired(parts["train"]))
    return (max(1.0, bad / good), max(1.0, good / bad))


def preference_trainer(job: Job, eval_on_start: bool) -> tuple[type, Any]:
    """(trainer class, its arguments).

    The class takes our token ids as they are: TRL's own would also train on the template's newline.
    """
    import trl

    config = job.config
    if config.method == "kto" and job.batch.size < 2:
        raise UserError(
            "method: kto needs two rows or more in a micro-batch, to see how far the model has drifted. "
            "Raise micro_batch."
        )
    kind, arguments = (
        (trl.DPOTrainer, trl.DPOConfig) if config.method == "dpo" else (trl.KTOTrainer, trl.KTOConfig)
    )

    class Trainer(kind):
        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    return Trainer, arguments(
        **shared_arguments(job, eval_on_start),
        **_own_arguments(config),
        beta=config.beta,
        disable_dropout=True,  # the reference has none either: at the start both say the same
        precompute_ref_log_probs=False,
    )


def _own_arguments(config: TrainConfig) -> dict[str, Any]:
    if config.method == "dpo":
        return {**DPO_LOSSES, "train_sampling_strategy": "random"}
    desirable, undesirable = weights_of(parts_of(read_preferences(config)))
    # In order: each row carries the reply of its neighbour in the batch. The rows are already mixed, by hash.
    return {
        "loss_type": "kto",
        "desirable_weight": desirable,
        "undesirable_weight": undesirable,
        "train_sampling_strategy": "sequential",
    }


def for_trainer(config: TrainConfig, rows: Sequence[dict[str, Any]], batch: Batch) -> list[dict[str, Any]]:
    """Rows as the trainer reads them: for KTO with a reply that belongs to another prompt."""
    return with_mismatched(rows, batch.size) if config.method == "kto" else list(rows)


def start_from_reference(model: Any, config: TrainConfig) -> None:
    """Give the adapter its weights again (TRL rounds them to bf16 on a 4-bit base), and check the copy."""
    fill_adapter(model, Path("adapters") / str(config.init_adapter) / ADAPTER_FILE)
    check_reference(model)


def check_reference(model: Any) -> None:
    """Raise RuntimeError unless the model holds a frozen, equal copy of its adapter (before step 1)."""
    parameters = dict(model.named_parameters())
    trained = [name for name in parameters if f".{ADAPTER}." in name]
    for name in trained:
        copy = parameters.get(name.replace(f".{ADAPTER}.", f".{REFERENCE}."))
        if copy is None or copy.requires_grad or not copy.float().equal(parameters[name].float()):
            raise RuntimeError(
                f"the trainer made no frozen copy of {name}: it would compare with the base model instead of "
                "the SFT run"
            )
    if not trained:
        raise RuntimeError("the model has no adapter to compare with")


class SameAtStart:
    """A check before the first step: policy and reference are one model, so they must answer alike."""

    def __init__(self, beta: float) -> None:
        self.beta = beta

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float] | None = None, **_: Any
    ) -> None:
        rewards = [
            value
            for name, value in state.log_history[-1].items()
            if name in ("eval_rewards/chosen", "eval_rewards/rejected")
        ]
        if state.global_step == 0 and (
            not rewards or max(abs(reward) for reward in rewards) / self.beta > SAME_NATS
        ):
            raise RuntimeError(
                f"before the first step the model and its reference differ (rewards {rewards}): the "
                "reference is not the SFT run"
            )


def preference_fields(config: TrainConfig, history: Sequence[dict[str, Any]], best: int) -> dict[str, Any]:
    """The manifest's fields of a preference run.

    Accuracy: share of validation pairs; None before training, where all tie.
    """
    preferences = read_preferences(config)
    evals = {entry["step"]: entry for entry in history if "eval_loss" in entry}
    before, after = evals.get(0, {}), evals[best]
    n_unpaired = sum(len(part) for part in unpaired(preferences))
    n_replies = len({answer.id for answer in answers(preferences)})
    return {
        "method": config.method,
        "init_adapter": config.init_adapter,
        "init_adapter_sha256": start_of(config).adapter_sha256,
        "n_preferences": len(preferences),
        "n_contradictory_replies": n_replies - n_unpaired if config.method == "kto" else 0,
        "reward_margin": BeforeAfter(
            before=before.get("eval_rewards/margins"), after=after.get("eval_rewards/margins")
        ),
        "reward_accuracy": BeforeAfter(before=None, after=after.get("eval_rewards/accuracies")),
    }


def rewards_line(manifest: Manifest) -> str:
    """margin +0.00 -> +0.41, the liked reply is preferred in 64% of the validation pairs (from v1)"""
    margin, accuracy = manifest.reward_margin, manifest.reward_accuracy.after
    told = (
        f", the liked reply is preferred in {accuracy:.0%} of the validation pairs"
        if accuracy is not None
        else ""
    )
    values = " -> ".join("?" if at is None else f"{at:+.2f}" for at in (margin.before, margin.after))
    return f"margin {values}{told} (from adapters/{manifest.init_adapter})"
