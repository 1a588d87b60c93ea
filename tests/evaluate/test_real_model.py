"""The trial on a real language model: what it measures, and when it says that nothing was learned."""

import json
from pathlib import Path

import pytest

from lib.evaluate.real_model import DATA, RUN, Loss, _perplexity, steps, with_intervals, write_workspace
from tests.conftest import ROOT


def test_the_loss_is_per_token_and_its_interval_resamples_authors_whole():
    n, authors = 40, [f"a{number // 2}" for number in range(40)]
    tokens = [10 + number % 5 for number in range(n)]
    base = [4.0 * count for count in tokens]
    tuned = [3.5 * count + (number % 3 - 1) for number, count in enumerate(tokens)]
    loss = with_intervals([base, tuned, tokens], authors)
    assert loss.n == 40
    assert loss.base == pytest.approx((4.0, 4.0, 4.0))
    assert loss.tuned[1] == pytest.approx(sum(tuned) / sum(tokens))
    assert loss.fall[1] == pytest.approx((sum(base) - sum(tuned)) / sum(tokens))
    assert loss.fall[0] < loss.fall[1] < loss.fall[2]
    assert loss.learned
    twice = with_intervals([part * 2 for part in ([*base], [*tuned], [*tokens])], authors * 2)
    assert twice.fall == pytest.approx(loss.fall)  # the same replies again are no new evidence


def test_perplexity_is_e_to_the_loss():
    assert _perplexity((1.0, 2.0, 3.0)) == "7.4 (2.7 to 20.1)"


@pytest.mark.parametrize(
    "fall, learned",
    [((0.1, 0.25, 0.4), True), ((-0.1, 0.25, 0.6), False), ((0.1, 0.15, 0.2), False)],
)
def test_a_small_or_an_uncertain_fall_is_not_learning(fall, learned):
    assert Loss(30, (4, 4, 4), (4, 4, 4), fall).learned is learned


def test_without_real_tweets_the_sample_is_used_and_a_short_trial_asks_no_judge(tmp_path):
    (tmp_path / "root" / "data" / "cache").mkdir(parents=True)
    for name in ("configs", "data/sample"):
        (tmp_path / "root" / name).symlink_to(ROOT / name)
    write_workspace(tmp_path / "trial", tmp_path / "root", None, short=True)
    assert (tmp_path / "trial" / "data" / DATA / "raw" / "items.jsonl").is_file()
    text = (tmp_path / "trial" / f"configs/train-{RUN}.yaml").read_text()
    assert "epochs: 1" in text and "early_stopping: null" in text
    assert list(steps(short=True)) == ["data", "training"]
    assert list(steps(short=False)) == ["data", "training", "evaluation"]


def test_the_data_of_a_trial_are_made_by_the_projects_own_stages(tmp_path):
    from lib.base.config import load_config
    from lib.base.settings import DataConfig, EvalConfig, TrainConfig

    items = tmp_path / "items.jsonl"
    items.write_text(json.dumps({"id": "1"}) + "\n")
    (tmp_path / "root" / "data" / "cache").mkdir(parents=True)
    (tmp_path / "root" / "configs").symlink_to(ROOT / "configs")
    folder = tmp_path / "trial"
    write_workspace(folder, tmp_path / "root", items, short=False)
    for kind, config in (("data", DataConfig), ("eval", EvalConfig), ("train", TrainConfig)):
        load_config(folder / f"configs/{kind}-{DATA if kind == 'data' else RUN}.yaml", config)
    assert Path(folder / "data" / DATA / "raw" / "items.jsonl").read_text() == items.read_text()
