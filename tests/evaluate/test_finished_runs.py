"""A finished run against what has changed since: its config, what it was trained on, what it may be asked."""

from pathlib import Path

import pytest

from lib.base.errors import UserError
from lib.base.files import lock, write_json, write_jsonl
from lib.base.schema import TestPrompt as Prompt
from lib.base.settings import EvalConfig, TrainConfig
from lib.evaluate.evaluation import Evaluation, chosen
from lib.model import machine
from lib.model.machine import refuse_small_machine
from lib.train.fingerprint import changed_since
from lib.train.manifest import as_trained, write_trained_on
from tests.eval_data import pair

RUN = Path("adapters/r")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORCE", raising=False)


def finished(**config):
    write_json(RUN / "manifest.json", {"config": TrainConfig(data="x", **config).model_dump(mode="json")})


def prompt(number):
    values = pair(number).model_dump()
    return Prompt(**{key: values[key] for key in ("tweet_id", "tweet", "tweet_author", "tweet_likes")})


def test_a_test_prompt_that_was_trained_on_is_left_out_and_so_are_others_of_its_author():
    same_author = prompt(3).model_copy(update={"tweet_author": pair(2).tweet_author.upper()})
    write_jsonl(Path("data/x/processed/test_prompts.jsonl"), [prompt(1), prompt(2), same_author, prompt(4)])
    write_trained_on(RUN, [pair(2)])
    evaluation = Evaluation("r", TrainConfig(data="x"), EvalConfig(), RUN / "eval" / "e")
    assert [one.tweet_id for one in evaluation.prompts()] == [prompt(1).tweet_id, prompt(4).tweet_id]
    assert evaluation.n_trained_on() == 2


def test_what_another_run_of_the_evaluation_was_trained_on_is_left_out_too():
    write_jsonl(Path("data/x/processed/test_prompts.jsonl"), [prompt(1), prompt(2)])
    write_trained_on(Path("adapters/v2"), [pair(2)])
    systems = ["base", "tuned", "tuned@3", "base@3", "human", "v2"]
    evaluation = Evaluation("r", TrainConfig(data="x"), EvalConfig(systems=systems), RUN / "eval" / "e")
    assert evaluation.others == ["v2"]
    assert [one.tweet_id for one in evaluation.prompts()] == [prompt(1).tweet_id]


def test_which_prompts_are_chosen_is_drawn_and_more_keep_the_fewer():
    prompts = [prompt(number) for number in range(30)]
    fewer, more = ([one.tweet_id for one in chosen(prompts, n)] for n in (6, 9))
    assert set(fewer) < set(more) and (len(fewer), fewer, more) == (6, sorted(fewer), sorted(more))
    assert fewer != [one.tweet_id for one in prompts[:6]]


def test_a_test_prompt_that_stands_twice_is_refused():
    assert [one.tweet_id for one in chosen([prompt(1), prompt(2)], None)] == ["1001", "1002"]
    with pytest.raises(UserError, match="names a tweet twice"):
        chosen([prompt(1), prompt(2), prompt(1)], None)


def test_a_finished_run_keeps_the_config_that_it_was_trained_with_but_for_what_is_not_in_the_weights():
    finished(prompt="Answer: {tweet}", usd_per_hour=1.0)
    config = as_trained(RUN, TrainConfig(data="y", usd_per_hour=2.0, epochs=9))
    assert (config.prompt, config.data, config.epochs, config.usd_per_hour) == (
        "Answer: {tweet}",
        "x",
        2,
        2.0,
    )


def test_without_a_finished_run_the_config_is_todays_and_nothing_has_changed():
    now = TrainConfig(data="y", epochs=9)
    assert as_trained(RUN, now) is now
    assert changed_since(RUN, now) is None


def test_one_line_says_which_keys_have_changed_since_the_training():
    finished()
    assert changed_since(RUN, TrainConfig(data="x")) is None
    assert changed_since(RUN, TrainConfig(data="x", usd_per_hour=9.0)) is None
    line = changed_since(RUN, TrainConfig(data="x", epochs=3))
    assert line == "adapters/r is used as it was trained; changed since then: epochs (2.0 -> 3.0)."


@pytest.mark.parametrize("model", ["Qwen/Qwen3-8B", "somebody/Model-7B-chat", "somebody/of-unknown-size"])
@pytest.mark.parametrize("to_train", [True, False])
def test_a_large_model_is_refused_without_a_gpu_before_it_is_downloaded(model, to_train, monkeypatch):
    monkeypatch.setattr(machine, "device_of", lambda config: "cpu")
    with pytest.raises(
        UserError, match=r"Nothing was downloaded.*make (train|replies) RUN=q ON=runpod` or ON=hf"
    ):
        refuse_small_machine("q", TrainConfig(data="x", model=model), to_train)
    monkeypatch.setenv("FORCE", "1")
    refuse_small_machine("q", TrainConfig(data="x", model=model), to_train)


@pytest.mark.parametrize("model", ["tiny", "Qwen/Qwen3-0.6B", "somebody/Small-135M"])
def test_a_small_model_may_be_trained_anywhere(model, monkeypatch):
    monkeypatch.setattr(machine, "device_of", lambda config: "cpu")
    refuse_small_machine("q", TrainConfig(data="x", model=model), True)


def test_a_lock_leaves_no_folder_that_holds_nothing_else():
    Path("adapters").mkdir()
    with pytest.raises(UserError), lock(Path("adapters/r/eval/e/generate.lock")):
        raise UserError("refused")
    assert list(Path("adapters").iterdir()) == []
    with lock(Path("adapters/r/.lock")):
        Path("adapters/r/started.json").touch()
    assert {path.name for path in Path("adapters/r").iterdir()} == {".lock", "started.json"}
