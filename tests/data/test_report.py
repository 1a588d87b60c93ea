import sys

import pytest

from lib.base.files import write_json, write_jsonl
from lib.base.schema import Rejection, Validation
from lib.base.settings import DataConfig
from lib.data import funnel
from lib.data.report import Stage, concentration, console, describe, page, spread, targets
from tests.eval_data import pair

HOSTILE = "<script>alert(1)</script>"


def rejected(stage, reason, n=1, text="x"):
    return [
        Rejection(id=f"{stage}{reason}{k}", stage=stage, reason=reason, detail="why", pair={"reply": text})
        for k in range(n)
    ]


STAGES = [
    Stage("pairs", 60, rejected("pair", "provider_filler", 5)),
    Stage("filtered", 40, rejected("filter", "reply_likes", 15) + rejected("filter", "toxicity", 5, HOSTILE)),
    Stage("clean", 38, rejected("clean", "near_duplicate", 2)),
]


def test_every_stage_accounts_for_all_that_went_in():
    assert [(stage.n_in, stage.n_kept) for stage in STAGES] == [(65, 60), (60, 40), (40, 38)]
    assert STAGES[1].reasons == [("reply_likes", 15), ("toxicity", 5)]


def test_targets_say_met_below_or_above():
    report = describe(STAGES, [pair(n) for n in range(38)], (30, 35, 100), 0.0, {})
    assert {row["name"]: row["state"] for row in report["targets"]} == {
        "pairs": "met",
        "tweets": "below",
        "reply authors": "below",
        "mean reply likes": "above",
        "rejected by validation, %": "above",
    }
    assert "pairs" in console("x", report)


def test_an_empty_set_is_described_without_a_division():
    report = describe(STAGES, [], (30, 35, 100), 2.0, {})
    assert report["usd_per_pair"] is None
    assert {row["state"] for row in report["targets"] if row["name"] == "mean reply likes"} == {
        "not measured"
    }


def test_money_is_counted_per_kept_pair():
    assert describe(STAGES, [pair(n) for n in range(10)], (1, 5, 100), 2.5, {})["usd_per_pair"] == 0.25


@pytest.mark.parametrize(
    ("values", "effective"), [(["a", "b", "c", "d"], 4), (["a"] * 4, 1), (["a"] * 9 + ["b"], 100 / 82)]
)
def test_concentration_is_the_number_of_equal_shares(values, effective):
    assert concentration("x", values)["effective"] == pytest.approx(effective)


def test_the_page_shows_the_funnel_and_keeps_texts_inert(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data/x"
    for stage in STAGES:
        write_jsonl(folder / "interim" / f"{stage.name}.rejected.jsonl", stage.rejected)
    write_jsonl(folder / "interim/split.rejected.jsonl", [])
    pairs = [pair(n, source="search.jsonl:1", quality=n / 100) for n in range(38)]
    seen = Validation(valid=True, reasons=["filler"], validated_at=pairs[0].collected_at)
    write_jsonl(
        folder / "interim/filtered.jsonl", [pairs[0].model_copy(update={"validation": seen}), *pairs[1:]]
    )
    for name, rows in (("train", pairs[:30]), ("val", pairs[30:34]), ("test", pairs[34:])):
        write_jsonl(folder / "processed" / f"{name}.jsonl", rows)
    counts = {"pair": {"kept": 60}, "filter": {"kept": 40}, "clean": {"kept": 38}, "split": {"kept": 38}}
    write_json(folder / "processed/manifest.json", {"counts": counts})
    write_json(folder / "raw/search.meta.json", {"query": "cats & dogs"})
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/data-x.yaml").write_text("collect: {source: files}\nfilter: {toxicity_model: none}")
    from scripts import data_report as script

    monkeypatch.setattr(sys, "argv", ["data_report", "--config", "configs/data-x.yaml"])
    script.main()
    html = (folder / "report.html").read_text()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "cats &amp; dogs" in html
    assert "kept 40 of 60" in html
    assert "looks like filler" in html
    assert "Quality of the pairs (median 0.18)" in html
    assert "Toxicity was not checked" in html
    assert "goal" in capsys.readouterr().out


def test_the_length_of_replies_is_what_a_reader_counts():
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    report = describe(STAGES, [pair(1, reply=f"{family} ok")], (1, 1, 1), 0.0, {})
    assert report["spread"]["chars"] == [4]


def test_of_very_many_pairs_a_sample_is_described_and_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(funnel, "MOST_PAIRS", 10)
    paths = [tmp_path / name for name in ("train.jsonl", "val.jsonl")]
    write_jsonl(paths[0], [pair(n) for n in range(30)])
    write_jsonl(paths[1], [pair(n) for n in range(30, 40)])
    pairs, n_pairs = funnel.sampled(paths)
    ids = [one.id for one in pairs]
    assert (len(set(ids)), n_pairs) == (10, 40)
    assert ids != [pair(n).id for n in range(10)]
    assert [one.id for one in funnel.sampled(paths)[0]] == ids
    report = describe(STAGES, pairs, (1, 5, 100), 4.0, {}, n_pairs)
    assert (report["targets"][0]["shown"], report["usd_per_pair"]) == ("40", 0.1)
    config = DataConfig.model_validate({"collect": {"source": "files"}})
    assert "those of 10 pairs, drawn at random from 40" in page("x", report, config)


def test_a_stage_counts_all_that_it_dropped_and_keeps_a_few_to_show(tmp_path):
    write_jsonl(tmp_path / "clean.rejected.jsonl", rejected("clean", "near_duplicate", 9))
    stage = funnel.read_stage(tmp_path / "clean.jsonl", 5)
    assert (stage.n_in, stage.reasons, len(stage.rejected)) == (14, [("near_duplicate", 9)], 2)
    assert describe([stage], [], (1, 1, 1), 0.0, {})["duplicates"] == 9


@pytest.mark.parametrize(
    ("n", "state"), [(29, "below"), (30, "met"), (35, "met"), (100, "met"), (101, "above")]
)
def test_a_goal_is_met_from_its_least_to_its_most(n, state):
    rows = targets([], [], (30, 35, 100), n)
    assert (rows[0]["state"], rows[0]["goal"]) == (state, "30–100, best 35")


def test_the_goals_are_reckoned_from_the_pairs_and_from_what_validation_saw():
    heard = ((1, "Bob"), (2, "bob"), (33, "al"))
    shown = [pair(n, reply_likes=likes, reply_author=name) for n, (likes, name) in enumerate(heard)]
    rows = {row["name"]: row["shown"] for row in targets(STAGES, shown, (1, 2, 3), 3)}
    assert (rows["mean reply likes"], rows["reply authors"]) == ("12", "2")
    assert rows["rejected by validation, %"] == "11.1"  # 5 of the 45 that had passed all else


def test_delays_are_in_minutes_and_concentration_is_that_of_the_ten_largest():
    shown = [pair(number).model_copy(update={"reply_time_diff_seconds": 90}) for number in range(3)]
    assert spread(shown, {})["minutes"] == [1.5] * 3
    found = concentration("x", [str(number) for number in range(20) for _ in range(1 + (number < 10))])
    assert (found["distinct"], found["largest"], found["top10"]) == (20, 2 / 30, 20 / 30)
