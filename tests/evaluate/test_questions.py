"""All that one judge is asked, in which order, and which change of it is another set of questions."""

from dataclasses import replace
from pathlib import Path

import pytest

from lib.base.errors import UserError
from lib.base.files import read_jsonl, write_jsonl
from lib.base.schema import Reply
from lib.base.settings import EvalConfig, TrainConfig
from lib.evaluate.evaluation import Evaluation
from lib.evaluate.questions import questions_of
from tests.eval_data import preference, prompt, write_data

N = 4


def reply(number, system):
    values = {"engine": "e", "quantization": "none", "seed": 0, "tokens": 3, "seconds": 0.0}
    return Reply(tweet_id=prompt(number).tweet_id, system=system, reply=f"{system} {number}", **values)


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """The questions of a Claude judge on four tweets and six pairs of real replies."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path, N, n_preferences=6)
    folder = Path("adapters/mine/eval/quick")
    systems = ["base", "fewshot", "tuned"]
    write_jsonl(folder / "replies.jsonl", [reply(n, system) for n in range(N) for system in systems])
    config = EvalConfig.model_validate({"systems": systems, "judge": {"kind": "claude"}})
    evaluation = Evaluation("mine", TrainConfig(data="small"), config, folder)
    return lambda: questions_of(evaluation)


def test_the_headline_is_asked_first_then_injected_orders_other_systems_and_real_pairs(asked):
    found = asked()
    pairs = [(one.a, one.b) for one in found.keys.values()]
    n_canaries = len(found.judge.canaries)
    assert pairs[: 2 * N] == [("tuned", "base")] * 2 * N
    assert list(found.keys.values())[2 * N : 2 * N + n_canaries] == list(found.judge.canaries)
    rest = list(found.keys)[2 * N + n_canaries :]
    assert rest == [*found.of_systems[2 * N :], *found.on_real] and len(found.on_real) == 2 * 6


def test_which_real_pairs_are_asked_about_is_drawn_and_does_not_depend_on_their_order(asked, monkeypatch):
    path = Path("data/small/processed/calibration.jsonl")
    pairs = [preference(500 + n) for n in range(6)]
    monkeypatch.setattr("lib.evaluate.questions.MAX_CALIBRATION_PAIRS", 3)
    drawn = asked().preferences
    write_jsonl(path, pairs[::-1])
    assert asked().preferences == drawn and len(drawn) == 3
    assert drawn not in (pairs[:3], pairs[3:][::-1])


def test_every_pair_that_a_number_comes_from_is_part_of_what_was_asked(asked):
    found = asked()
    for name in ("preferences", "train_preferences"):
        fewer = replace(found, **{name: getattr(found, name)[1:]})
        assert fewer.fingerprint != found.fingerprint, name
    assert replace(found, failed=[{"reason": "reply_empty"}]).fingerprint != found.fingerprint


def test_systems_that_were_not_answered_alike_are_not_judged(asked):
    path = Path("adapters/mine/eval/quick/replies.jsonl")
    other = {"tuned": {"quantization": "q4_k_m"}}
    rows = [one.model_copy(update=other.get(one.system, {})) for one in read_jsonl(path, Reply)]
    write_jsonl(path, rows)
    with pytest.raises(UserError, match="differ in engine or quantization"):
        asked()
