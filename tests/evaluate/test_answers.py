"""What a reply and the model's measures depend on: named, and nothing else named; no model is loaded."""

import hashlib
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.files import read_json, write_json
from lib.base.settings import EvalConfig, TrainConfig
from lib.evaluate.answers import (
    _fingerprints,
    _metrics,
    embedding_model,
    identities,
    plan_tasks,
    refuse_other_run,
)
from lib.evaluate.evaluation import Evaluation
from lib.train.manifest import write_trained_on
from tests.eval_data import pair, write_configs, write_data

PROMPT = "Answer: {tweet}"


def write_run(name, words="adapter", prompt=PROMPT, **changes):
    """A finished run as far as its replies ask: an adapter file and the manifest that names it."""
    folder = Path("adapters") / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_model.safetensors").write_text(words)
    config = {"data": "small", "model": "org/base", "revision": None, "quantization": "nf4", "prompt": prompt}
    known = {"adapter_sha256": hashlib.sha256(words.encode()).hexdigest(), "base_model": "org/base"}
    config |= changes.pop("config", {})
    write_json(
        folder / "manifest.json",
        known | {"revision": "c" * 40, "fingerprint": "f"} | changes | {"config": config},
    )


@pytest.fixture
def of(tmp_path, monkeypatch):
    """The evaluation of the run `mine`; given: its eval config."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)
    write_configs(tmp_path, model="org/base", quantization="nf4", prompt=PROMPT)
    write_run("mine")
    config = load_config(Path("configs/train-mine.yaml"), TrainConfig)
    return lambda **given: Evaluation(
        "mine", config, EvalConfig.model_validate(given), Path("adapters/mine/eval/quick")
    )


def prints(evaluation):
    return _fingerprints(evaluation, identities(evaluation))


def served(**changes):
    arm = {"base_url": "http://127.0.0.1:1/v1", "model": "m", "quantization": "nf4", "api_key_env": "A"}
    return {"openai": {"base": arm, "tuned": arm | changes}}


def test_the_base_is_named_by_the_commit_that_was_loaded(of):
    before = identities(of())
    assert before["base"] == before["fewshot"] == ["transformers", "org/base", "c" * 40, "nf4", None]
    write_run("mine", revision="d" * 40)
    assert identities(of())["base"] != before["base"]
    write_run("mine", words="another")
    after = identities(of())
    assert after["base"] == before["base"] and after["tuned"] != before["tuned"]


def test_a_tiny_base_is_named_by_its_training_for_it_has_no_commit(of):
    def tiny(fingerprint):
        write_run("mine", fingerprint=fingerprint)
        own = of()
        return identities(replace(own, config=own.config.model_copy(update={"model": "tiny"})))["base"]

    assert tiny("one") != tiny("other")


@pytest.mark.parametrize(
    ("before", "after", "replies", "metrics"),
    [
        ({}, {"max_prompts": 3}, True, False),
        ({}, {"sampling": {"seed": 18}}, True, False),
        ({}, {"systems": ["base", "tuned"]}, True, False),
        ({}, {"judge": {"kind": "offline", "repeats": 2}}, False, False),
        ({}, {"fewshot": {"k": 2}}, True, False),
        ({}, {"embedding_model": "another"}, True, False),
        ({"engine": served()}, {"engine": served(model="n")}, True, True),
        ({"engine": served()}, {"engine": served(api_key_env="B")}, False, False),
    ],
)
def test_a_changed_config_makes_anew_what_depends_on_it_and_nothing_else(of, before, after, replies, metrics):
    one, other = prints(of(**before)), prints(of(**before | after))
    assert [a != b for a, b in zip(one, other, strict=True)] == [replies, metrics]


@pytest.mark.parametrize(
    ("systems", "name", "replies", "metrics"),
    [
        (["base", "tuned"], "train", False, False),
        (["base", "tuned", "fewshot"], "train", True, False),
        (["base", "tuned", "tuned@2"], "train", True, False),  # the ranker learns from it
        (["base", "tuned"], "test_prompts", True, False),
        (["base", "tuned"], "test", False, True),
    ],
)
def test_changed_data_make_anew_what_is_read_from_them(of, systems, name, replies, metrics):
    before = prints(of(systems=systems))
    path = of().processed / f"{name}.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    assert [a != b for a, b in zip(before, prints(of(systems=systems)), strict=True)] == [replies, metrics]


def test_another_adapter_is_answered_and_measured_anew(of):
    before = prints(of())
    write_run("mine", words="another")
    assert all(a != b for a, b in zip(before, prints(of()), strict=True))


def test_another_run_answers_with_its_own_prompt_and_on_the_same_weights_alone(of):
    systems = ["base", "tuned", "v2"]
    write_run("v2", words="v2", prompt="Say: {tweet}")
    evaluation = of(systems=systems)
    tasks = plan_tasks(evaluation, identities(evaluation))
    said = {task.system: task.conversation[-1]["content"][:4] for task in tasks}
    assert said == {"base": "Answ", "tuned": "Answ", "v2": "Say:"}
    for changes in (
        {"revision": "d" * 40},
        {"config": {"quantization": "bf16"}},
        {"base_model": "org/other"},
    ):
        write_run("v2", words="v2", **changes)
        with pytest.raises(UserError, match="v2 was trained on other weights"):
            identities(evaluation)


def test_servers_of_unlike_quantization_or_with_another_run_are_refused(of):
    with pytest.raises(UserError, match="quantization"):
        identities(of(engine=served(quantization="q4_k_m")))
    with pytest.raises(UserError, match="another run needs `engine: auto`"):
        identities(of(engine=served(), systems=["base", "tuned", "v2"]))


@pytest.mark.parametrize(
    ("served_there", "here", "refused"),
    [("a", "a", False), ("a", "b", True), ("a", None, True), (None, "b", False)],
)
def test_an_engine_that_serves_another_adapter_is_refused(served_there, here, refused):
    engine = EvalConfig.model_validate({"engine": served() | {"adapter_sha256": served_there}}).engine
    expected = pytest.raises(UserError, match="Run `make serve RUN=mine` first") if refused else nullcontext()
    with expected:
        refuse_other_run(engine, "mine", here)


def test_the_examples_are_found_with_the_config_s_embeddings_or_the_data_set_s(of):
    assert embedding_model(of(embedding_model="mine")) == "mine"
    assert embedding_model(of()) == "char-ngrams"
    path = of().processed / "manifest.json"
    write_json(path, {key: value for key, value in read_json(path).items() if key != "embedding_model"})
    with pytest.raises(UserError, match="names no embedding_model"):
        embedding_model(of())


def test_what_the_run_was_trained_on_is_not_in_its_perplexity(of, monkeypatch):
    measured = []
    monkeypatch.setattr(
        "lib.evaluate.answers.model_metrics", lambda loaded, pairs, prompt: measured.extend(pairs) or {}
    )
    write_trained_on(Path("adapters/mine"), [pair(101)])
    _metrics(of(), object(), "print")
    assert [one.tweet_id for one in measured] == [pair(n).tweet_id for n in (100, 102, 103)]
    assert _metrics(of(), None, "print").reason.startswith("A server gives no losses")
