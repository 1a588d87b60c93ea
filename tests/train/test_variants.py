"""Variants of a sweep: their names, their order, and the table of them."""

import pytest

from lib.train.variants import SweepConfig, label, quality, ranked, run_name, table

GRID = {"base": "tiny", "grid": {"learning_rate": [1e-4, 2e-4], "epochs": [1, 2]}}


def variant(run, **changes):
    signs = {
        "distinct_2": 0.5,
        "alike": 0.25,
        "median_words": 12.0,
        "empty": 0.125,
        "copies_of_training": 0.0,
    }
    numbers = {"eval_loss": 3.0, "train_eval_gap": 0.25, "seconds": 90.0, "usd": 1.5}
    return {"run": run, "state": "finished", **numbers, "quality": signs, **changes}


def test_a_row_of_the_table_shows_each_number_in_the_unit_of_its_column():
    head, row = table([variant("v")]).splitlines()
    assert head.split() == ["eval", "loss", "gap", "minutes", "$", *head.split()[5:]]
    assert head.split()[5:] == ["distinct-2", "alike", "words", "empty", "copies"]
    assert row.split() == ["v", "3.000", "+0.25", "1.5", "1.50", "0.50", "25%", "12", "12%", "0%"]
    assert table([variant("v", train_eval_gap=-0.25)]).split()[-8] == "-0.25"
    unknown = dict.fromkeys(variant("v")["quality"]) | {"collapsed": False}
    shown = table([variant("v", train_eval_gap=None, quality=unknown)]).splitlines()[1]
    assert shown.split() == ["v", "3.000", "-", "1.5", "1.50", "-", "-", "-", "-", "-"]


def test_a_variant_that_did_not_finish_is_last_with_its_reason():
    failed = {"run": "a", "state": "failed", "reason": "no disk"}
    assert table([failed, variant("b", eval_loss=9.0)]).splitlines()[-1] == "  a  failed: no disk"


def test_of_two_equal_losses_the_name_decides():
    assert [one["run"] for one in ranked([variant("b"), variant("a"), variant("c", eval_loss=2.9)])] == [
        *("c", "a", "b")
    ]


@pytest.mark.parametrize("max_runs, fits", [(3, False), (4, True), (5, True)])
def test_max_runs_itself_is_allowed(max_runs, fits):
    try:
        assert SweepConfig.model_validate({**GRID, "max_runs": max_runs}) and fits
    except ValueError as error:
        assert not fits and "4 variants are more than max_runs 3" in str(error)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_variant_of_the_grid_that_is_listed_again_is_refused(place):
    others = [{"epochs": epochs} for epochs in (3, 4, 5)]
    others.insert(place, {"learning_rate": 1e-4, "epochs": 2})
    SweepConfig.model_validate({**GRID, "variants": others[:place]})
    with pytest.raises(ValueError, match=r"the variant lr0.0001-e2 is there twice"):
        SweepConfig.model_validate({**GRID, "variants": others})


def test_a_run_is_named_after_its_sweep_and_what_it_changes():
    changes = {"learning_rate": 1e-4, "epochs": 1.5, "lora": {"rank": 8, "alpha": 16, "dropout": 0.05}}
    assert run_name("big", changes) == "sweep-big-lr0.0001-e1.5-r8-a16-d0.05"
    assert label({}) == "base"


def test_signs_of_nothing_written_are_not_zero():
    found = quality([], [], None)
    assert (found["n"], found["empty"], found["median_words"]) == (0, None, None)
    assert quality(["", " ", "a b"], [], None)["empty"] == pytest.approx(2 / 3)
    assert quality(["", " ", "a b"], [], None)["median_words"] == 2
