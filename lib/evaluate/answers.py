"""The generate step as a whole: which weights answer for which system, what is up to date, and the engine
that makes the rest.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.base.errors import UserError
from lib.base.files import content_hash, read_json, read_jsonl, write_json
from lib.base.schema import Pair, TestPrompt, drawn_from
from lib.base.seals import checked
from lib.base.settings import OpenAIEngine, TrainConfig
from lib.evaluate.best_of import picked
from lib.evaluate.evaluation import Evaluation, chosen, training
from lib.evaluate.fewshot import nearest
from lib.evaluate.replies import Task, answer_all, conversations, missing, plan, read_log
from lib.evaluate.replies_file import finished, refuse_changed_log, write_replies
from lib.evaluate.shared_replies import is_measured, take_over
from lib.evaluate.steps import ModelMetrics, RepliesManifest, read_replies_manifest
from lib.model.adapters import ADAPTER_FILE, check_adapter, sha256_of, whole_adapter
from lib.model.generate import transformers_engine
from lib.model.losses import FORGETTING_MARGIN, GENERAL_TEXTS, model_metrics
from lib.model.machine import refuse_small_machine
from lib.model.openai_engine import openai_engine, refuse_unlike_quantization
from lib.train.manifest import Manifest

if TYPE_CHECKING:
    from lib.model.loading import Loaded


def make_replies(
    evaluation: Evaluation, progress: Callable[[str], None], before_new: Callable[[], None] = lambda: None
) -> tuple[RepliesManifest, bool]:
    """replies.jsonl, its manifest and model_metrics.json. Returns the manifest, and whether anything had to
    be done.

    before_new: called before the first reply is made. Raises UserError for missing files, an adapter without
    effect, and arms that differ in engine or quantization.
    """
    arms = identities(evaluation)
    replies_print, metrics_print = _fingerprints(evaluation, arms)
    metrics_done = is_measured(evaluation.folder, metrics_print)
    if metrics_done and finished(evaluation.folder, replies_print):
        os.utime(evaluation.folder / "replies.jsonl")  # make compares times; the content is what counts
        return read_replies_manifest(evaluation.folder), False
    before_new()
    tasks = plan_tasks(evaluation, arms)
    take_over(evaluation.folder, tasks, metrics_print, progress)
    metrics_done = is_measured(evaluation.folder, metrics_print)
    log = evaluation.work / "replies.jsonl"
    loaded = None
    engine = None
    if isinstance(evaluation.eval.engine, OpenAIEngine):
        if missing(tasks, read_log(log)):
            engine = openai_engine(evaluation.eval.engine.openai, evaluation.eval.sampling)
    elif missing(tasks, read_log(log)) or not metrics_done:
        loaded = _load(evaluation)
        engine = transformers_engine(
            loaded, evaluation.eval.sampling, lambda run: _load_adapter(loaded, run, evaluation.config)
        )
    before = read_log(log)
    stored = answer_all(tasks, engine, log, evaluation.eval.sampling, progress)
    best, candidates = picked(tasks, stored, evaluation.prompts(), evaluation.train)
    stored |= best
    if not metrics_done:
        progress("generate: perplexity of the real replies, loss on general texts")
        write_json(
            evaluation.folder / "model_metrics.json",
            _metrics(evaluation, loaded, metrics_print).model_dump(mode="json"),
        )
    refuse_changed_log(evaluation.folder, tasks, before, stored, replies_print)
    return write_replies(evaluation.folder, tasks, stored, replies_print, candidates), True


def are_written(evaluation: Evaluation) -> bool:
    """True if make_replies would have nothing to do."""
    replies_print, metrics_print = _fingerprints(evaluation, identities(evaluation))
    return finished(evaluation.folder, replies_print) and is_measured(evaluation.folder, metrics_print)


def plan_tasks(evaluation: Evaluation, arms: Mapping[str, Any]) -> list[Task]:
    """Every reply that is wanted. arms: system -> what names its weights."""
    prompts = chosen(evaluation.prompts(), evaluation.eval.max_prompts)
    examples: dict[str, list[Pair]] = {}
    if "fewshot" in evaluation.eval.systems:
        examples = _examples(evaluation, prompts)
    prompt_of = {run: training(_folder(run)).config["prompt"] for run in evaluation.others}
    turns = conversations(evaluation.config.prompt, prompt_of, examples)
    return plan(evaluation.eval.systems, prompts, turns, arms, evaluation.eval.sampling)


def _examples(evaluation: Evaluation, prompts: list[TestPrompt]) -> dict[str, list[Pair]]:
    from lib.data.vectors import embed

    model = embedding_model(evaluation)
    found = nearest(
        [prompt.tweet for prompt in prompts],
        evaluation.train(),
        evaluation.eval.fewshot.k,
        lambda texts: embed(texts, model),
    )
    return {prompt.tweet_id: pairs for prompt, pairs in zip(prompts, found, strict=True)}


def embedding_model(evaluation: Evaluation) -> str:
    """The eval config's, or the one that the data set was de-duplicated with. Raises UserError for none."""
    path = evaluation.processed / "manifest.json"
    model = evaluation.eval.embedding_model or read_json(path).get("embedding_model")
    if not model:
        raise UserError(
            f"{path} names no embedding_model. Add embedding_model: to the eval config, or build the data "
            "again."
        )
    return model


def identities(evaluation: Evaluation) -> dict[str, Any]:
    """system -> what names the weights that answer for it.

    Raises UserError for a run that is not there or does not compare.
    """
    if isinstance(evaluation.eval.engine, OpenAIEngine):
        if evaluation.others:
            raise UserError(
                f"systems: {evaluation.others[0]}: another run needs `engine: auto`; a server has base and "
                "tuned only."
            )
        servers = evaluation.eval.engine.openai
        refuse_unlike_quantization(servers)
        unnamed = {"api_key_env", "first_logprobs"}  # neither names the weights
        of = {name: ["openai", server.model_dump(exclude=unnamed)] for name, server in servers.items()}
        adapter = _adapter_hash(evaluation.run) if _adapter(evaluation.run).is_file() else None
        refuse_other_run(evaluation.eval.engine, evaluation.run, adapter)
        return {"base": of.get("base"), "fewshot": of.get("base"), "tuned": [of.get("tuned"), adapter]}
    manifest = training(_folder(evaluation.run))
    base = ["transformers", *_weights(evaluation.config.model_dump(), manifest)]
    arms = {"base": base, "fewshot": base, "tuned": [base, _adapter_hash(evaluation.run)]}
    for run in evaluation.others:
        _refuse_other_weights(run, evaluation, manifest)
        arms[run] = [base, _adapter_hash(run)]
    return arms


def refuse_other_run(engine: OpenAIEngine, run: str, adapter: str | None) -> None:
    """Raise UserError if `make serve` wrote engine for another adapter than this one of run."""
    if engine.adapter_sha256 not in (None, adapter):
        raise UserError(
            f"configs/eval-served.yaml is of another adapter than adapters/{run} holds: another run is "
            f"served, or this one was trained again. Run `make serve RUN={run}` first."
        )


def _weights(config: Mapping[str, Any], manifest: Manifest) -> list[Any]:
    """Names the base weights.

    A local base has no commit: the training's fingerprint stands for what was in it.
    """
    local = config["model"] == "tiny" or Path(config["model"]).exists()
    commit = config.get("revision") or manifest.revision  # which lib.model.loading.load_for_inference loads
    return [config["model"], commit, config["quantization"], manifest.fingerprint if local else None]


def _refuse_other_weights(run: str, evaluation: Evaluation, manifest: Manifest) -> None:
    other = training(_folder(run))
    own = [evaluation.config.model, evaluation.config.revision or manifest.revision]
    own += [evaluation.config.quantization, manifest.base_model]
    config = other.config
    its = [
        config.get("model"),
        config.get("revision") or other.revision,
        config.get("quantization"),
        other.base_model,
    ]
    if own != its:
        raise UserError(
            f"systems: {run} was trained on other weights ({its}) than {evaluation.run} ({own}). Compare "
            "runs of one base model."
        )


def _fingerprints(evaluation: Evaluation, arms: Mapping[str, Any]) -> tuple[str, str]:
    systems = evaluation.eval.systems
    has_fewshot = "fewshot" in systems
    learns = has_fewshot or any(drawn_from(system)[1] > 1 for system in systems)
    files = [
        evaluation.processed / f"{name}.jsonl" for name in ("test_prompts", *(["train"] if learns else []))
    ]
    for path in [*files, evaluation.processed / "test.jsonl"]:
        if not checked(path).is_file():
            raise UserError(f"{path} does not exist. Run `make data DATA={evaluation.config.data}` first.")
    own = evaluation.eval.model_dump(include={"sampling", "systems", "fewshot", "max_prompts"})
    embedding = embedding_model(evaluation) if has_fewshot else None
    prompts = [
        evaluation.config.prompt,
        *[training(_folder(run)).config["prompt"] for run in evaluation.others],
    ]
    replies = content_hash(own, embedding, arms, prompts, *files)
    metrics = content_hash(
        arms["base"],
        arms["tuned"],
        prompts[0],
        FORGETTING_MARGIN,
        evaluation.processed / "test.jsonl",
        GENERAL_TEXTS,
    )
    return replies, metrics


def _metrics(evaluation: Evaluation, loaded: "Loaded | None", fingerprint: str) -> ModelMetrics:
    if loaded is None:
        reason = (
            "A server gives no losses of given texts: perplexity and forgetting need `engine: auto` where "
            "the weights are."
        )
        return ModelMetrics(fingerprint=fingerprint, engine="openai", reason=reason)
    there = read_jsonl(checked(evaluation.processed / "test.jsonl"), Pair)
    pairs = [pair for pair in there if not evaluation.has_seen(pair)]
    return ModelMetrics(fingerprint=fingerprint, **model_metrics(loaded, pairs, evaluation.config.prompt))


def _load(evaluation: Evaluation) -> "Loaded":
    from lib.model.loading import load_for_inference

    refuse_small_machine(evaluation.run, evaluation.config, to_train=False)
    return load_for_inference(_folder(evaluation.run), evaluation.config)


def _load_adapter(loaded: "Loaded", run: str, config: TrainConfig) -> str:
    """Put another run's adapter on the same weights, once; returns its name there (module names hold no
    dots).
    """
    name = "run_" + run.replace(".", "_")
    if name not in loaded.model.peft_config:
        check_adapter(_folder(run), config, loaded.model.config)
        loaded.model.load_adapter(str(_folder(run)), adapter_name=name)
    return name


def _folder(run: str) -> Path:
    return Path("adapters") / run


def _adapter(run: str) -> Path:
    return _folder(run) / ADAPTER_FILE


def _adapter_hash(run: str) -> str:
    if not _adapter(run).is_file():
        raise UserError(f"{_adapter(run)} does not exist. Run `make train RUN={run}` first.")
    manifest = _folder(run) / "manifest.json"
    return whole_adapter(manifest) if manifest.is_file() else sha256_of(_adapter(run))
