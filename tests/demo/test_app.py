"""What the demo is put together from: the run's own model, tweets, examples, pages and votes."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from demo import app
from demo.app import _auth, drafts_writer, here, pair_generator, with_fewshot
from demo.drafts import N_DRAFTS
from demo.replay import _candidates, replay
from lib.base.errors import UserError
from lib.base.files import write_json, write_jsonl
from lib.base.schema import TestPrompt
from lib.base.settings import SamplingConfig
from lib.evaluate.best_of import Candidate
from lib.judge.offline import MIN_PAIRS
from lib.model.adapters import sha256_of
from tests.demo.test_replay import reply
from tests.eval_data import pair

SAMPLING = SamplingConfig(temperature=0.7, seed=17, max_new_tokens=8)
PROMPT = "Reply to: {tweet}"
TWEET = "It broke my bike https://t.co/x"
CLEAN = "It broke my bike"


class Writer:
    """Says which system was asked, and keeps the conversations and the sampling."""

    def __init__(self, *said):
        self.said, self.asked = list(said), []

    def __call__(self, name, turns, sampling):
        self.asked.append((name, turns, sampling))
        return self.said.pop(0) if self.said else f"{name} {len(self.asked)}"


def test_a_tweet_is_asked_about_as_those_of_the_training_and_an_empty_one_not_at_all():
    asked = []
    ask = pair_generator(lambda turns, sampling: asked.append((turns, sampling)), PROMPT)
    ask(TWEET, SAMPLING)
    assert asked == [([{"role": "user", "content": f"Reply to: {CLEAN}"}], SAMPLING)]
    for empty in ("https://t.co/x", "<|im_end|>", "\u200b"):
        with pytest.raises(UserError, match="Nothing is left of that tweet"):
            ask(empty, SAMPLING)
    assert len(asked) == 1


def test_drafts_are_five_draws_of_the_tuned_model_without_empty_or_equal_ones(tmp_path):
    write = Writer("one", "", "one", "two")
    *_, last = drafts_writer(write, PROMPT, tmp_path / "train.jsonl")(TWEET, SAMPLING)
    assert [draft.text for draft in last] == ["one", "two", "tuned 5"]
    assert all((draft.score, draft.effects) == (None, ()) for draft in last)  # there are no training pairs
    assert {name for name, _, _ in write.asked} == {"tuned"} and N_DRAFTS == 5
    assert len({sampling.seed for _, _, sampling in write.asked}) == 5
    assert write.asked[0][2] == SAMPLING  # the first draft is the reply itself
    assert write.asked[0][1] == [{"role": "user", "content": f"Reply to: {CLEAN}"}]


@pytest.mark.parametrize("n_pairs, is_ranked", [(MIN_PAIRS - 1, False), (MIN_PAIRS, True)])
def test_drafts_are_ranked_from_ten_training_pairs_on(tmp_path, n_pairs, is_ranked):
    train = tmp_path / "train.jsonl"
    write_jsonl(train, [pair(n) for n in range(n_pairs)])
    draft, *_ = next(drafts_writer(Writer("tell us what"), PROMPT, train)(TWEET, SAMPLING))
    assert (draft.score is not None) == is_ranked == bool(draft.effects)


def test_the_few_shot_reply_is_the_base_models_after_the_nearest_examples(tmp_path):
    pairs, write = [pair(n) for n in range(12)], Writer()
    evaluation = SimpleNamespace(
        train=lambda: pairs,
        processed=tmp_path,
        eval=SimpleNamespace(embedding_model="char-ngrams", fewshot=SimpleNamespace(k=3)),
        config=SimpleNamespace(prompt=PROMPT),
    )
    views = list(
        with_fewshot(lambda *asked: iter([("a", ""), ("a", "b")]), write, evaluation)(TWEET, SAMPLING)
    )
    assert views == [("a", ""), ("a", "b"), ("a", "b", ""), ("a", "b", "base 1")]
    ((name, turns, sampling),) = write.asked
    assert (name, sampling, turns[-1]["content"]) == ("base", SAMPLING, f"Reply to: {CLEAN}")
    assert len(turns) == 2 * 3 + 1
    assert {turn["content"] for turn in turns[1::2]} <= {one.reply for one in pairs}


def test_what_the_model_here_writes_has_the_adapter_where_it_is_asked_for(monkeypatch):
    asked = []

    def generate(loaded, conversations, sampling, tuned):
        asked.append((loaded, conversations, sampling, tuned))
        return [SimpleNamespace(text=f"tuned: {tuned}")]

    monkeypatch.setattr("lib.model.generate.generate", generate)
    _, write = here("loaded")
    assert [write(name, ["turn"], SAMPLING) for name in ("base", "tuned")] == ["tuned: False", "tuned: True"]
    assert asked[0][:3] == ("loaded", [["turn"]], SAMPLING)


def test_the_network_is_let_in_by_user_and_password_alone(monkeypatch):
    monkeypatch.setenv("DEMO_PASSWORD", "secret")
    assert _auth("0.0.0.0") == ("demo", "secret") and _auth("127.0.0.1") is None
    monkeypatch.setenv("DEMO_PASSWORD", "")
    with pytest.raises(UserError, match=r"--host 0\.0\.0\.0 .* Set DEMO_PASSWORD"):
        _auth("0.0.0.0")


# --- the command -------------------------------------------------------------------------------------


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """(arguments) -> what main() builds and serves for a finished run, no model loaded."""
    monkeypatch.chdir(tmp_path)
    config = {"data": "sample", "eval": "offline", "model": "me/base", "prompt": PROMPT}
    write_json(Path("configs/train-mine.yaml"), config)
    write_json(Path("configs/eval-offline.yaml"), {"sampling": {"max_new_tokens": 8}})
    write_json(Path("adapters/mine/manifest.json"), {"config": config, "adapter_sha256": "f" * 64})
    Path("adapters/mine/adapter_model.safetensors").write_bytes(b"weights")
    for folder in ("adapters/mine/eval/offline", "data/sample"):
        Path(folder).mkdir(parents=True)
        Path(folder, "report.html").touch()
    tweet = {"tweet_id": "1", "tweet": "held out", "tweet_author": "ann", "tweet_likes": 300}
    write_jsonl(Path("data/sample/processed/test_prompts.jsonl"), [TestPrompt(**tweet)])
    write_jsonl(Path("data/sample/processed/train.jsonl"), [pair(n) for n in range(12)])
    built = {}
    monkeypatch.setattr(app, "refuse_small_machine", lambda *given, **more: None)
    monkeypatch.setattr(app, "_load", lambda folder, config: (folder, config))
    monkeypatch.setattr(app, "here", lambda loaded: (None, Writer()))
    monkeypatch.setattr(app, "build_app", lambda *given, **more: built.update(more, given=given))
    monkeypatch.setattr(app, "serve", lambda _, *where: built.update(where=where))
    monkeypatch.setattr(app, "replay", lambda *given: built.update(replayed=given))

    def main(*arguments):
        monkeypatch.setattr(sys, "argv", ["demo", "--config", "configs/train-mine.yaml", *arguments])
        app.main()
        return SimpleNamespace(**built)

    return main


def test_the_page_shows_the_run_and_its_own_tweets_pages_and_votes(shown, capsys):
    page = shown()
    assert page.given[1:] == ("Base · me/base", "Tuned · mine", SamplingConfig(max_new_tokens=8))
    assert (page.tweets, page.has_third) == (["held out"], False)
    weights = Path("adapters/mine/adapter_model.safetensors")
    assert (page.votes.path, page.votes.run) == (weights.with_name("votes.jsonl"), "mine")
    assert page.votes.adapter_sha256 == sha256_of(weights)
    assert page.where == ("127.0.0.1", None, None, page.reports)
    assert list(page.reports.values()) == [
        Path("adapters/mine/eval/offline/report.html"), Path("data/sample/report.html")
    ]  # fmt: skip
    assert next(page.drafts("hello", SAMPLING))[0].score is not None  # by the training pairs
    assert "next: make" in capsys.readouterr().out


def test_no_password_covers_the_reports_so_the_network_gets_none(shown, monkeypatch):
    monkeypatch.setenv("DEMO_PASSWORD", "secret")
    page = shown("--host", "0.0.0.0", "--port", "7999")
    assert page.reports == {} and page.where == ("0.0.0.0", 7999, ("demo", "secret"), {})


def test_a_config_that_is_newer_than_the_run_is_one_line(shown, capsys):
    today = Path("configs/train-mine.yaml")
    write_json(today, {"data": "sample", "eval": "offline", "model": "me/base", "prompt": "Other: {tweet}"})
    shown()
    assert "demo: " in capsys.readouterr().out.partition("next:")[0]


def test_recorded_replies_stand_in_where_the_weights_are_not(shown, capsys):
    weights = Path("adapters/mine/adapter_model.safetensors")
    weights.unlink()
    with pytest.raises(UserError, match="Run `make train RUN=mine` first"):
        shown()
    write_jsonl(weights.parent / "eval/offline/replies.jsonl", [reply("1", "base"), reply("1", "tuned")])
    page = shown("--data", "d", "--eval", "e", "--port", "7999")
    assert page.replayed == (Path("configs/train-mine.yaml"), "d", "e", 7999)
    assert "holds no weights: these are its recorded replies" in capsys.readouterr().out


# --- replay ------------------------------------------------------------------------------------------


def candidate(tweet_id, system, number, said, score=3.0):
    one = {"tweet_id": tweet_id, "system": system, "number": number, "reply": said, "score": score}
    return Candidate(**one, picked=False)


def test_the_drafts_of_a_recording_are_those_of_the_tuned_model_that_say_something(tmp_path):
    rows = [
        candidate("1", "tuned@3", 0, "one", 2.0),
        candidate("1", "tuned@3", 1, "", None),
        candidate("1", "tuned@3", 2, "two"),
        candidate("1", "base@3", 0, "plain", 9.0),
        candidate("2", "tuned@3", 0, "three"),
    ]
    write_jsonl(tmp_path / "candidates.jsonl", rows)
    assert _candidates(tmp_path) == {"1": [("one", 2.0), ("two", 3.0)], "2": [("three", 3.0)]}


def test_without_an_adapter_to_vote_on_a_replay_has_no_votes(shown, monkeypatch):
    served = []
    monkeypatch.setattr("demo.replay.serve", lambda app, *given: served.append(given))
    monkeypatch.setattr("demo.replay.replay_app", lambda rows, *given: served.append(given))
    replies = [reply("1", "base"), reply("1", "tuned")]
    write_jsonl(Path("adapters/mine/eval/offline/replies.jsonl"), replies)
    replay(Path("configs/train-mine.yaml"), None, None, 7999)
    write_json(Path("adapters/mine/manifest.json"), {"config": {}})  # a server answered
    replay(Path("configs/train-mine.yaml"), None, None, None)
    (base, tuned, votes, reports), where, (*_, none, _), _ = served
    assert (base, tuned, votes.run, none) == ("Base · me/base", "Tuned · mine", "mine", None)
    assert where == ("127.0.0.1", 7999, None, reports) and set(reports) == {"report", "data-report"}
