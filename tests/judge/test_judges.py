"""One factory makes the judge of an eval config, and every kind offers the same."""

from typing import get_args

import pytest

from lib.base.settings import JudgeConfig
from lib.judge.judges import judge_of
from tests.eval_data import pair

KINDS = get_args(JudgeConfig.model_fields["kind"].annotation)


def nobody():
    raise AssertionError("no pair is read before it is needed")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_the_config_is_made_without_reading_anything(kind):
    own = {"base_url": "http://localhost:8080", "model": "qwen3"} if kind == "openai" else {}
    judge = judge_of(JudgeConfig(kind=kind, **own), nobody)
    assert judge.title
    assert judge.is_free == (judge.estimate(10) is None)


def test_only_a_judge_that_reads_is_shown_orders_and_only_one_that_costs_has_a_price():
    claude, offline = (judge_of(JudgeConfig(kind=kind), nobody) for kind in ("claude", "offline"))
    assert (len(claude.canaries), len(offline.canaries)) == (8, 0)
    assert (claude.is_stand_in, offline.is_stand_in) == (False, True)
    assert claude.estimate(100) == {"live": pytest.approx(0.72), "batch": pytest.approx(0.36)}


def test_other_training_pairs_make_another_stand_in_and_another_effort_another_claude():
    one, other = (
        judge_of(JudgeConfig(kind="offline"), lambda n=n: [pair(i) for i in range(n)]) for n in (20, 30)
    )
    assert one.identity != other.identity and one.name.endswith("n=20)")
    low, high = (judge_of(JudgeConfig(effort=effort), nobody) for effort in ("low", "high"))
    assert low.identity != high.identity and low.name == high.name == "claude-sonnet-5-5"
