"""Best of k: the candidates, the one that is picked, and what is measured of them."""

import json
import signal
import time

import pytest

from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.files import read_dicts, read_json, read_jsonl, write_jsonl
from lib.base.schema import Judgment, Reply
from lib.base.settings import EvalConfig, SamplingConfig
from lib.evaluate.best_of import Candidate, best_of, picked, read_best_of
from lib.evaluate.replies import answer_all, conversations, plan, to_write
from lib.evaluate.report import read_report
from lib.judge.comparisons import system_pairs
from lib.model.generate import Engine, Generated
from scripts import report
from tests.eval_data import IGNORED, LIKED, pair, prompt, write_configs, write_data
from tests.evaluate.test_findings import HOSTILE, write_evaluation
from tests.model.test_openai_engine import n_chats, ran, script, served
from tests.stubs.openai_server import OpenAIStub

SAMPLING = SamplingConfig()
TRAIN = [pair(n) for n in range(30)]


def engine(asked, text=lambda system, n, candidate: f"{system} {n} {candidate}"):
    def answer(system, turns, candidate=0):
        asked.append((system, candidate, len(turns)))
        return ((n, Generated(text(system, n, candidate), 3, 0.1)) for n in range(len(turns)))

    return Engine("transformers", "nf4", 16, answer)


def tasks_of(systems, n_prompts=4):
    arms = {"base": "b", "tuned": "t"}
    return plan(
        systems, [prompt(n) for n in range(n_prompts)], conversations("{tweet}", {}, {}), arms, SAMPLING
    )


def made(systems, tmp_path, asked=None, **options):
    tasks = tasks_of(systems)
    found = engine([] if asked is None else asked, **options)
    stored = answer_all(tasks, found, tmp_path / "log", SAMPLING, str)
    return tasks, stored


def test_the_candidates_are_the_arms_own_reply_and_k_minus_1_others(tmp_path):
    asked = []
    made(["base", "tuned", "tuned@3", "base@2"], tmp_path, asked)
    assert asked == [("base", 0, 4), ("tuned", 0, 4), ("tuned", 1, 4), ("tuned", 2, 4), ("base", 1, 4)]
    lines = [json.loads(line)["reply"] for line in (tmp_path / "log").read_text().splitlines()]
    assert {(line["system"], line["seed"]) for line in lines} == {
        ("base", 17), ("base", 18), ("tuned", 17), ("tuned", 18), ("tuned", 19)
    }  # fmt: skip
    asked.clear()
    made(["base", "tuned", "tuned@4"], tmp_path, asked)  # fewer are the first of more
    assert asked == [("tuned", 3, 4)]


def test_the_reply_of_an_arm_has_the_key_that_it_had_without_candidates():
    plain = {task.key for task in tasks_of(["base", "tuned"])}
    assert plain < {task.key for task in to_write(tasks_of(["base", "tuned", "tuned@5"]))}


def test_the_ranker_picks_and_is_fitted_on_training_pairs_alone(tmp_path):
    tasks, stored = made(
        ["base", "tuned", "tuned@3"],
        tmp_path,
        text=lambda system, n, candidate: f"number {n}, {LIKED if candidate == n % 3 else IGNORED}",
    )
    best, rows = picked(tasks, stored, [prompt(n) for n in range(4)], lambda: TRAIN)
    replies = [line.reply for line in best.values()]
    assert {reply.system for reply in replies} == {"tuned@3"} and all(LIKED in one.reply for one in replies)
    assert [row.number for row in rows if row.picked] == [0, 1, 2, 0] and len(rows) == 12


def test_without_a_best_of_k_no_training_pair_is_read(tmp_path):
    def nobody():
        raise AssertionError("read")

    assert picked(*made(["base", "tuned"], tmp_path), [], nobody) == ({}, [])


def test_an_empty_candidate_is_never_picked_beside_another_one_and_of_equals_the_first(tmp_path):
    tasks, stored = made(
        ["base", "tuned", "tuned@3"], tmp_path, text=lambda system, n, candidate: "same" if candidate else " "
    )
    _, rows = picked(tasks, stored, [prompt(n) for n in range(4)], lambda: TRAIN)
    assert {row.number for row in rows if row.picked} == {1}
    tasks, stored = made(["base", "tuned", "tuned@2"], tmp_path / "b", text=lambda *_: "")
    _, rows = picked(tasks, stored, [prompt(n) for n in range(4)], lambda: TRAIN)
    assert [row.score for row in rows] == [None] * 8 and {row.number for row in rows if row.picked} == {0}


def candidates(*texts, chosen=0, scores=None):
    scores = scores or [5.0] * len(texts)
    return [
        Candidate(tweet_id="1", system="tuned@3", number=n, reply=text, score=scores[n], picked=n == chosen)
        for n, text in enumerate(texts)
    ]


def test_diversity_tells_five_ideas_from_one_idea_five_times():
    one = best_of([candidates("This is so true!", "this is so true", "This is so true.")])
    other = best_of([candidates("I love cats", "where does rain begin", "no way, twice", chosen=1)])
    assert (one.distinct, one.diversity, one.first_picked) == (pytest.approx(1 / 3), 0, 1)
    assert (other.distinct, other.diversity, other.first_picked) == (1, 1, 0)
    half = best_of([candidates("a b c", "b c d", chosen=1, scores=[4.0, 6.5])])
    assert half.diversity == pytest.approx(0.5) and half.gain == 2.5 and (half.k, half.n) == (2, 1)


def test_two_empty_candidates_have_everything_in_common():
    assert best_of([candidates("", " ", scores=[None, None])]).diversity == 0


def test_the_best_has_the_control_tokens_of_the_candidate_that_was_picked(tmp_path):
    texts = (IGNORED, LIKED)
    tasks, stored = made(
        ["base", "tuned", "tuned@2"], tmp_path, text=lambda system, n, candidate: texts[candidate]
    )
    stored = {
        key: line.model_copy(update={"leaks": texts.index(line.reply.reply)}) for key, line in stored.items()
    }
    best, _ = picked(tasks, stored, [prompt(n) for n in range(4)], lambda: TRAIN)
    assert [line.leaks for line in best.values()] == [1] * 4


def test_the_gain_over_an_empty_reply_is_that_over_the_lowest_score():
    found = best_of([candidates(" ", "b", chosen=1, scores=[None, 6.0]), candidates("a", "b")])
    assert (found.gain, found.first_picked) == (2.5, 0.5)


def test_the_best_of_k_stands_beside_k_1_and_against_the_base_at_the_same_k():
    pairs = system_pairs(["base", "tuned", "tuned@5", "base@5"])
    assert pairs[0] == ("tuned", "base") and len(pairs) == len(set(pairs))
    assert {("tuned", "tuned@5"), ("tuned@5", "base"), ("tuned@5", "base@5"), ("base@5", "base")} < set(pairs)
    assert ("tuned@5", "base@3") not in system_pairs(["base", "tuned", "tuned@5", "base@3"])


@pytest.mark.parametrize("system", ["tuned@1", "tuned@0", "tuned@100", "fewshot@5", "v1@5", "tuned@", "@5"])
def test_a_best_of_that_cannot_be_is_refused(tmp_path, system):
    path = tmp_path / "eval-x.yaml"
    path.write_text(json.dumps({"systems": ["base", "tuned", system]}))
    with pytest.raises(UserError, match="systems"):
        load_config(path, EvalConfig)


def test_candidates_need_a_temperature(tmp_path):
    path = tmp_path / "eval-x.yaml"
    path.write_text(json.dumps({"systems": ["base", "tuned", "tuned@2"], "sampling": {"temperature": 0}}))
    with pytest.raises(UserError, match=r"tuned@2 draws several candidates: sampling\.temperature"):
        load_config(path, EvalConfig)


def test_the_report_shows_the_candidates_and_says_that_the_stand_in_is_the_ranker(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_evaluation(tmp_path)
    write_jsonl(folder / "candidates.jsonl", candidates("a b c", HOSTILE, chosen=1, scores=[4.0, 6.5]))
    arguments = ["report", "--config", "configs/train-small.yaml", "--eval", "configs/eval-offline.yaml"]
    monkeypatch.setattr("sys.argv", arguments)
    report.main()
    found, page = read_report(folder / "report.json").best_of, (folder / "report.html").read_text()
    assert found["tuned@3"].gain == 2.5 and "The best of several candidates" in page
    assert "it cannot but prefer what it picked" in page and HOSTILE not in page


# --- from the command line -----------------------------------------------------------------------------


def config_of(server, **changes):
    return {**served(server), "systems": ["base", "tuned", "tuned@4", "base@4"], **changes}


@pytest.mark.slow
def test_write_four_post_one_is_judged_and_reported_and_a_killed_run_goes_on(tmp_path):
    with OpenAIStub(varied=True, delay=0.02) as server:
        write_data(tmp_path, n_prompts=12)
        args = write_configs(tmp_path, evaluation=config_of(server))
        folder = tmp_path / "adapters" / "mine" / "eval" / "quick"
        log, process = folder / "work" / "replies.jsonl", script("generate", args, tmp_path)
        deadline = time.monotonic() + 60
        while not (log.exists() and log.read_bytes().count(b"\n") >= 30):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kept, before = log.read_bytes().count(b"\n"), n_chats(server)
        code, said = ran("generate", args, tmp_path)
        assert code == 0, said
        assert n_chats(server) - before == 12 * 2 * 4 - kept
        replies = read_jsonl(folder / "replies.jsonl", Reply)
        assert len(replies) == 12 * 4 and {one.system for one in replies} == {*config_of(server)["systems"]}
        rows = read_dicts(folder / "candidates.jsonl")
        assert len(rows) == 12 * 2 * 4 and sum(row["picked"] for row in rows) == 24
        first, n_asked = (folder / "replies.jsonl").read_bytes(), len(server.bodies)
        code, said = ran("generate", args, tmp_path)
        assert code == 0 and "nothing to do" in said and len(server.bodies) == n_asked
        (folder / "candidates.jsonl").write_text("")  # damaged: written again from the log
        code, said = ran("generate", args, tmp_path)
        assert code == 0 and len(server.bodies) == n_asked, said
        assert read_dicts(folder / "candidates.jsonl") == rows
        assert (folder / "replies.jsonl").read_bytes() == first
        code, said = ran("judge", args, tmp_path)
        assert code == 0, said
        judged = {(row.a, row.b) for row in read_jsonl(folder / "judgments.jsonl", Judgment)}
        assert ("tuned@4", "base@4") in judged and ("tuned@4", "base") in judged
        found = read_best_of(folder)
        assert found["tuned@4"].k == 4 and found["tuned@4"].n == 12 and found["tuned@4"].gain > 0
        assert read_json(folder / "replies.manifest.json")["n"]["tuned@4"] == 12
