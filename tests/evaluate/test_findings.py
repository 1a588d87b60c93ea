"""The report of an evaluation, from replies and judgments written by hand."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lib.base.errors import UserError
from lib.base.files import write_json, write_jsonl
from lib.base.ledger import Ledger
from lib.base.schema import Judgment, Reply
from lib.base.settings import EvalConfig, TrainConfig
from lib.evaluate.evaluation import Evaluation
from lib.evaluate.findings import (
    Files,
    _cost,
    _facts,
    _forgetting,
    _judge,
    _losses,
    _strengths,
    _trust,
    gather,
)
from lib.evaluate.measures import Metrics
from lib.evaluate.page import (
    SHOWN_METRICS,
    _blind,
    _curves,
    _extremes,
    _funnel,
    _metric_rows,
    _net_plot,
    page,
)
from lib.evaluate.pairings import Pairings
from lib.evaluate.people_records import Agreements, OfJudge, OfVotes, People
from lib.evaluate.reading import tally
from lib.evaluate.report import Flawed
from lib.model.flaws import flaws_of
from tests.eval_data import pair, prompt, write_data

HOSTILE = "<script>alert(1)</script> <img src=x onerror=alert(1)> [b](javascript:x)"

WARM = """Mine died in the rain too, oil on the chain saved it
You could ask the shop around the corner, they fixed my kettle
Page ninety and there is still no murderer, give me strength
Frost again?
Knees first, then pride. I stopped at mile nine
Not the low E
Take it to your dad, he has been waiting for a reason
Same here since Monday, and nobody at the desk knew why
Chapter ten?
My neighbour plants garlic against the snails and swears by it
Blisters too
unused""".splitlines()


def reply(number, system, text):
    return Reply(
        tweet_id=prompt(number).tweet_id,
        system=system,
        reply=text,
        engine="transformers",
        quantization="fp32",
        seed=17,
        tokens=9,
        seconds=0.1,
    )


def judgment(number, a, b, order, verdict):
    good = 5 + 2 * verdict
    return Judgment(
        tweet_id=prompt(number).tweet_id,
        a=a,
        b=b,
        order=order,
        repeat=0,
        verdict=verdict,
        scores={
            a: {"engagement": good, "tone": good - 0.1 * (number % 3)},
            b: {"engagement": 10 - good, "tone": 10 - good},
        },
        model="m",
        key=f"{number}{a}{b}{order}",
    )


def write_evaluation(tmp_path):
    """adapters/small with 12 tweets: tuned beats base on 9 of them, and ties with few-shot everywhere."""
    write_data(tmp_path, n_prompts=12)
    folder = tmp_path / "adapters/small/eval/offline"
    texts = {"base": "A flat answer, {}.", "fewshot": "An answer like others, {}."}
    replies = [
        reply(n, system, text)
        for n in range(12)
        for system, text in [
            *((name, said.format("so " * (n * 7 % 5 + n % 3) + str(n))) for name, said in texts.items()),
            ("tuned", WARM[n]),
        ]
    ]
    write_jsonl(folder / "replies.jsonl", [*replies[:-1], reply(11, "tuned", HOSTILE)])
    rows = [
        judgment(n, "tuned", "base", order, 0.5 if n < 9 else -0.5)
        for n in range(12)
        for order in ("ab", "ba")
    ]
    rows += [
        judgment(n, a, b, order, 0.0)
        for n in range(12)
        for a, b in (("tuned", "fewshot"), ("fewshot", "base"))
        for order in ("ab", "ba")
    ]
    write_jsonl(folder / "judgments.jsonl", rows)
    write_jsonl(
        folder / "judgments.failed.jsonl",
        [{"tweet_id": "5001", "a": "tuned", "b": "base", "reason": "truncated", "detail": ""}],
    )
    metrics = {
        "perplexity": {"base": 30.0, "tuned": 12.0},
        "forgetting": {"base": [2.0, 2.1, 2.2], "tuned": [2.0, 2.11, 2.19], "margin": 0.1},
    }
    write_json(folder / "model_metrics.json", metrics)
    few = {
        "accuracy": 0.6,
        "ci95": [0.4, 0.8],
        "n": 20,
        "status": "not calibrated",
        "sentence": "not calibrated: 20 pairs",
        "baselines": {},
    }
    write_json(folder / "calibration.json", few)
    write_json(folder / "judgments.manifest.json", {"model": "a stand-in"})
    write_json(folder / "replies.manifest.json", {"leaks": {"tuned": 2}})
    seen, unknown = pair(200), pair(201)
    write_jsonl(tmp_path / "data/small/processed/val.jsonl", [seen])
    samples = [
        {"step": 0, "epoch": 0, "tweet_id": seen.tweet_id, "reply": "first words"},
        {"step": 9, "epoch": 1, "tweet_id": seen.tweet_id, "reply": HOSTILE},
        {"step": 9, "epoch": 1, "tweet_id": unknown.tweet_id, "reply": "to a tweet that was forgotten"},
    ]
    known = {"train_eval_gap": 0.1, "adapter_sha256": "ab" * 32, "usd": 0.4, "alerts": [], "samples": samples}
    write_json(tmp_path / "adapters/small/manifest.json", known)
    (tmp_path / "adapters/small/metrics.jsonl").write_text(
        '{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 2.0, "eval_loss": 2.2}\n'
    )
    Ledger(folder / "ledger.jsonl").append("done", "k", "judge", usd=1.25)
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / "train-small.yaml").write_text("data: small\neval: offline")
    (configs / "eval-offline.yaml").write_text("judge: {kind: offline}")
    counts = {"pair": {"in": 5, "kept": 4}}
    filters = {"toxicity_model": "none", "language": "en"}
    write_json(
        tmp_path / "data/small/processed/manifest.json", {"config": {"filter": filters}, "counts": counts}
    )
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(files, report, steps) of the evaluation above: computed once, the bootstrap takes a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("evaluation"))
        files = read(write_evaluation(Path()))
        sanity = {
            "tuned": {"median_chars": 40.0},
            "base": {"median_chars": 20.0},
            "fewshot": {"median_chars": 25.0},
        }
        report, steps = gather(files, sanity, looked_at(files))
        yield files, report, steps


def looked_at(files):
    """The flaws of the replies, as the report step finds them."""
    return flaws_of(
        files.replies,
        list(files.prompts.values()),
        files.train,
        lambda texts: [("en", 1.0)] * len(texts),
        max_new_tokens=120,
    )


def read(folder):
    evaluation = EvalConfig.model_validate({"judge": {"kind": "offline"}})
    return Files.read(Evaluation("small", TrainConfig(data="small", eval="offline"), evaluation, folder))


def test_the_report_holds_what_the_gate_and_the_reader_need(made):
    _, report, _ = made
    assert (report.n_prompts, report.systems, report.win_rate, report.net_win) == (
        12,
        ["base", "fewshot", "tuned"],
        0.75,
        50.0,
    )
    assert {"name", "value", "threshold", "pass"} <= set(report.as_written()["gate"]["criteria"][0])
    assert report.metrics["tuned"].perplexity == 12.0
    assert report.cost == {"collect": 0.0, "train": 0.4, "judge": 1.25}
    assert report.forgetting.margin == 0.1
    assert set(report.comparisons) == {"tuned vs fewshot", "fewshot vs base"}
    assert {"version": 1, "ci95": list(report.ci95)}.items() <= report.as_written().items()
    json.dumps(report.as_written(), allow_nan=False)


def test_each_number_comes_from_its_own_file(made):
    files, report, _ = made
    assert report.hashes["adapter"] == "ab" * 32
    assert report.criteria["engagement"] == {"tuned": pytest.approx(5.5), "base": pytest.approx(4.5)}
    Ledger(Path("data/small/ledger.jsonl")).append("done", "k", "collect", usd=2.0)
    assert _cost(files) == {"collect": 2.0, "train": 0.4, "judge": 1.25}
    metrics = files.model_metrics.model_copy(update={"perplexity": {"tuned": 12.0, "n_pairs": 4}})
    assert _losses(replace(files, model_metrics=metrics), "tuned")["perplexity_n"] == 4
    worse = {"base": [2.0, 2.1, 2.2], "tuned": [2.5, 2.6, 2.71], "margin": 0.1}
    assert _forgetting(files.model_metrics.model_copy(update={"forgetting": worse})).mean_diff > 0.4
    assert _strengths(files.judgments, ["base", "tuned"]) == {}


def test_systems_stand_in_the_config_s_order_and_people_s_looks_are_their_own(made):
    files, _, _ = made
    assert with_config(files, systems=["tuned", "human", "base"]).systems == ["tuned", "base"]
    flaws = {("1", "human"): frozenset({"toxic"}), ("2", "human"): frozenset(), ("3", "tuned"): frozenset()}
    found = files.of_people(flaws)["human"]
    assert (found.n, found.toxic) == (2, 0.5)
    assert files.of_people({("3", "tuned"): frozenset()}) == {}


def with_config(files, **config):
    changed = EvalConfig.model_validate({"judge": {"kind": "offline"}} | config)
    return replace(files, evaluation=replace(files.evaluation, eval=changed))


def test_the_gate_is_told_the_price_of_a_tweet_and_what_each_flaw_cost(made):
    files, _, _ = made
    paired = Pairings({("tuned", "base"): SimpleNamespace(n=12)}, unjudged=0.1, best_net_win=60.0)
    course = [[2.5, 2.4], [2.1, 2.2]]
    manifest = files.train_manifest.model_copy(update={"eval_losses": course})
    facts = _facts(
        replace(files, train_manifest=manifest),
        paired,
        looked_at(files),
        [Flawed(name="copy", losses=2, ties=3, wins=4)],
        None,
    )
    assert facts.usd_per_tweet == pytest.approx(1.25 / 12)
    assert (facts.classes, facts.losses, facts.unjudged) == ([("copy", 5, 4)], course, 0.1)


def test_failures_of_the_headline_are_counted_and_the_judge_is_the_one_that_judged(made):
    files, _, _ = made
    files = with_config(files, judge={"kind": "claude", "model": "claude-haiku-5-5"})
    files = replace(files, failed=[*files.failed, {"a": "chosen", "b": "rejected", "reason": "truncated"}])
    length = dict.fromkeys(("win_rate", "ci95", "correlation", "longer_wins"))
    found = _judge(files, SimpleNamespace(length=length, position=None), None)
    assert (found.parse_failures, found.model) == (1, "a stand-in")


@pytest.mark.parametrize(
    ("votes", "outdated", "status"),
    [(60, False, "trusted"), (49, False, "unproven"), (60, True, "unproven"), (None, False, "unproven")],
)
def test_blind_votes_on_these_very_replies_vouch_for_the_judge(made, votes, outdated, status):
    files = with_config(made[0], judge={"kind": "claude"})
    counted = votes and OfVotes(
        n=votes, n_tweets=12, share=0.9, share_ci95=(0.8, 0.95), kappa=0.8, ci95=(0.6, 0.9)
    )
    majority = OfJudge(n=12, kappa=0.1, ci95=(-0.4, 0.6), votes=counted)
    people = People(agreement=Agreements(judge=majority), outdated=outdated)
    assert _trust(files, people).status == status


def test_the_clearest_wins_and_losses_are_shown_three_of_each(made):
    files, _, _ = made
    steps = {"5000": 0.5, "5001": 1.0, "5002": -1.0, "5003": -0.5, "5004": 0.25, "5005": 0.2, "5006": 0.0}
    tweets = {one.tweet: number for number, one in files.prompts.items()}
    assert [tweets[row["tweet"]] for row in _extremes(files, steps, 1)] == ["5001", "5000", "5004"]
    assert [tweets[row["tweet"]] for row in _extremes(files, steps, -1)] == ["5002", "5003"]


def test_the_blind_examples_change_sides_and_have_a_tally_of_their_own(made, monkeypatch):
    files, report, steps = made
    assert {row["replies"][0][1] for row in _blind(files, steps)} == {"tuned", "base"}
    monkeypatch.setattr("lib.evaluate.page.N_BLIND", 4)
    shown = _blind(files, steps)
    assert len(shown) == 4 and tally(row["step"] for row in shown) in page(files, report, steps)


def test_the_plots_and_tables_of_the_page_show_what_they_are_called(made, monkeypatch):
    files, report, _ = made
    drawn = []
    monkeypatch.setattr("lib.evaluate.page.lines", lambda series, *titles: drawn.extend(series))
    _curves(files)
    assert drawn == [("training loss", [(1, 2.5), (2, 2.0)]), ("validation loss", [(2, 2.2)])]
    plot = str(_net_plot(report))
    assert all(
        name in plot for name in ("tuned against base", "tuned against fewshot", "fewshot against base")
    )
    assert _funnel(files.evaluation.processed / "manifest.json") == [("pair", 5, 4)]
    every = Metrics(**{key: 0 if key == "leaks" else 0.5 for key, *_ in SHOWN_METRICS})
    rows = _metric_rows(report.model_copy(update={"metrics": {"tuned": every}}))
    amounts = [row["name"] for row in rows if not row["is_share"]]
    assert [name.partition(",")[0] for name in amounts] == [
        *("median length", "distinct words", "distinct word pairs"),
        *("think blocks", "perplexity of the real replies"),
    ]


def test_twelve_tweets_are_underpowered_and_the_report_says_so(made):
    _, report, _ = made
    assert report.underpowered is True
    assert report.gate.verdict == "underpowered"
    assert "underpowered" in report.gate.sentence.lower()
    assert report.mde > 0.3


def test_failed_judgments_are_counted_apart(made):
    _, report, _ = made
    assert report.judge.parse_failures == 1
    assert report.judge.failure_reasons == {"truncated": 1}


def test_a_judge_that_is_not_calibrated_explains_no_true_win_rate(made):
    _, report, _ = made
    assert report.judge.true_win_rate is None
    assert report.judge.stand_in is True


def test_hostile_replies_are_inert_on_the_page_and_nothing_is_loaded(made):
    html = page(*made)
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "https://" not in html


def test_the_page_says_first_what_happened_and_keeps_the_long_list_for_the_end(made):
    html = page(*made)
    order = ["What happened", "Can it be believed?", "What to do next", 'href="#examples"', 'id="wins"']
    order += ['id="gate"', 'id="training"', 'id="cost"', 'id="examples"', 'class="fold blind"']
    assert [html.index(part) for part in order] == sorted(html.index(part) for part in order)
    assert "Size of the effect" in html
    assert "mannwhitney_p" not in html


def test_every_link_of_the_contents_leads_somewhere_and_every_heading_of_a_table_says_of_what(made):
    html = page(*made)
    linked, there = (set(re.findall(rf'{of}(\w+)"', html)) for of in ('href="#', 'id="'))
    assert linked <= there
    assert all("scope=" in tag for tag in re.findall(r"<th\b[^>]*>", html))


def test_the_page_says_stand_in_and_shows_the_curves(made):
    html = page(*made)
    assert "offline stand-in" in html
    assert "validation loss" in html
    assert html.count("<svg") >= 3


def test_the_page_shows_what_the_model_answered_while_it_trained(made):
    html = page(*made)
    assert html.index("before training") < html.index("first words") < html.index("after epoch 1")
    assert "to a tweet that was forgotten" not in html


def test_a_tweet_without_a_headline_verdict_is_an_error_that_names_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_evaluation(tmp_path)
    write_jsonl(folder / "judgments.jsonl", [judgment(1, "fewshot", "base", "ab", 0.5)])
    with pytest.raises(UserError, match=r"judgments\.jsonl has no verdict on tuned against base"):
        gather(read(folder), {}, {})


def test_the_script_writes_both_files_and_prints_the_verdict(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = write_evaluation(tmp_path)
    from scripts import report as script

    monkeypatch.setattr(
        sys, "argv", ["report", "--config", "configs/train-small.yaml", "--eval", "configs/eval-offline.yaml"]
    )
    script.main()
    printed = capsys.readouterr().out
    assert "underpowered" in printed.lower()
    assert "stand-in" in printed
    assert json.loads((folder / "report.json").read_text())["n_prompts"] == 12
    assert (folder / "report.html").stat().st_size > 5000
