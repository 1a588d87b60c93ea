"""A second evaluation of a run takes over the replies that the first one has, and generates nothing twice."""

import json

import pytest

from lib.base.errors import UserError
from lib.base.files import read_jsonl, write_json
from lib.base.schema import Reply
from lib.base.settings import SamplingConfig
from lib.evaluate.best_of import picked
from lib.evaluate.replies import answer_all, conversations, missing, plan, read_log
from lib.evaluate.replies_file import finished, refuse_changed_log, write_replies
from lib.evaluate.shared_replies import take_over
from lib.model.generate import Engine, Generated
from tests.eval_data import pair, prompt, write_configs, write_data
from tests.model.test_openai_engine import n_chats, ran, served
from tests.stubs.openai_server import OpenAIStub

SAMPLING = SamplingConfig()


def engine(quantization="nf4"):
    def answer(system, turns, candidate=0):
        return ((n, Generated(f"{system} {n} {quantization} {candidate}", 3, 0.1)) for n in range(len(turns)))

    return Engine("transformers", quantization, 16, answer)


def tasks_of(systems=("base", "tuned", "human"), n_prompts=4, tuned="t"):
    prompts = [prompt(n) for n in range(n_prompts)]
    return plan(systems, prompts, conversations("{tweet}", {}, {}), {"base": "b", "tuned": tuned}, SAMPLING)


def evaluated(folder, tasks, quantization="nf4"):
    """An evaluation whose replies are written."""
    stored = answer_all(tasks, engine(quantization), folder / "work" / "replies.jsonl", SAMPLING, str)
    write_replies(folder, tasks, stored, "print")
    write_json(folder / "model_metrics.json", {"fingerprint": "weights", "perplexity": {"tuned": 9.0}})
    return folder


def test_what_another_evaluation_has_is_not_missing_any_more(tmp_path):
    evaluated(tmp_path / "eval/one", tasks_of())
    said, wanted = [], tasks_of(n_prompts=6)
    take_over(tmp_path / "eval/two", wanted, "weights", said.append)
    log = read_log(tmp_path / "eval/two/work/replies.jsonl")
    assert len(log) == 8 and len(missing(wanted, log)) == 4
    assert said == ["generate: 8 replies taken over from the evaluation one"]
    assert json.loads((tmp_path / "eval/two/model_metrics.json").read_text())["perplexity"] == {"tuned": 9.0}
    take_over(tmp_path / "eval/two", wanted, "weights", said.append)
    assert len(said) == 1 and len(read_log(tmp_path / "eval/two/work/replies.jsonl")) == 8


def test_other_weights_or_measures_are_not_taken(tmp_path):
    evaluated(tmp_path / "eval/one", tasks_of())
    wanted = tasks_of(tuned="another adapter")
    take_over(tmp_path / "eval/two", wanted, "other weights", str)
    assert {task.system for task in missing(wanted, read_log(tmp_path / "eval/two/work/replies.jsonl"))} == {
        "tuned"
    }
    assert not (tmp_path / "eval/two/model_metrics.json").exists()


def test_replies_of_one_engine_alone_are_taken(tmp_path):
    evaluated(tmp_path / "eval/few", tasks_of(n_prompts=2), "fp32")
    evaluated(tmp_path / "eval/many", tasks_of(n_prompts=4))
    take_over(tmp_path / "eval/new", tasks_of(), "weights", str)
    log = read_log(tmp_path / "eval/new/work/replies.jsonl")
    assert {line.reply.quantization for line in log.values()} == {"nf4"} and len(log) == 8


def test_a_reply_that_two_evaluations_have_is_taken_once(tmp_path):
    for name in ("one", "other"):
        evaluated(tmp_path / "eval" / name, tasks_of())
    said = []
    take_over(tmp_path / "eval/new", tasks_of(), "weights", said.append)
    assert said == ["generate: 8 replies taken over from the evaluation one"]
    assert len((tmp_path / "eval/new/work/replies.jsonl").read_text().splitlines()) == 8


@pytest.mark.parametrize("what", ["replies.jsonl", "work/replies.jsonl"])
def test_a_file_that_was_changed_is_not_taken_over(tmp_path, what):
    folder = evaluated(tmp_path / "eval/one", tasks_of())
    path = folder / what
    path.write_text(path.read_text().replace("tuned 1 nf4", "the best reply ever"))
    take_over(tmp_path / "eval/two", tasks_of(), "weights", str)
    log = tmp_path / "eval/two/work/replies.jsonl"
    assert "best reply ever" not in (log.read_text() if log.exists() else "")


def test_a_file_that_was_changed_with_its_log_is_not_taken_over(tmp_path):
    folder = evaluated(tmp_path / "eval/one", tasks_of())
    for path in (folder / "replies.jsonl", folder / "work/replies.jsonl"):
        path.write_text(path.read_text().replace("tuned 1 nf4", "the best reply ever"))
    take_over(tmp_path / "eval/two", tasks_of(), "weights", str)
    assert not (tmp_path / "eval/two/work/replies.jsonl").exists()


def test_candidates_that_were_changed_or_are_gone_leave_the_replies_unfinished(tmp_path):
    tasks = tasks_of(("base", "tuned", "tuned@2"))
    stored = answer_all(tasks, engine(), tmp_path / "work" / "replies.jsonl", SAMPLING, str)
    best, candidates = picked(
        tasks, stored, [prompt(n) for n in range(4)], lambda: [pair(n) for n in range(30)]
    )
    manifest = write_replies(tmp_path, tasks, stored | best, "print", candidates)
    assert manifest.n == {"base": 4, "tuned": 4, "tuned@2": 4}
    assert finished(tmp_path, "print") and not finished(tmp_path, "other")
    path = tmp_path / "candidates.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10] + whole[-9:])
    assert not finished(tmp_path, "print")
    path.write_bytes(whole)
    assert finished(tmp_path, "print")
    path.unlink()
    assert not finished(tmp_path, "print")


def test_a_log_that_was_changed_is_refused_and_one_that_lost_a_line_is_not(tmp_path):
    tasks = tasks_of(("base", "tuned"))
    folder = evaluated(tmp_path, tasks)
    stored = read_log(folder / "work" / "replies.jsonl")
    refuse_changed_log(folder, tasks, stored, stored, "print")
    first = tasks[0].key
    said = stored[first].reply.model_copy(update={"reply": "the best reply ever"})
    changed = stored | {first: stored[first].model_copy(update={"reply": said})}
    with pytest.raises(UserError, match="was changed, and so was"):
        refuse_changed_log(folder, tasks, changed, changed, "print")
    refuse_changed_log(folder, tasks, changed, changed, "of other prompts")
    fewer = {key: line for key, line in changed.items() if key != tasks[1].key}
    refuse_changed_log(folder, tasks, fewer, changed, "print")


def test_empty_replies_are_counted_for_their_own_system(tmp_path):
    tasks = tasks_of()
    stored = answer_all(tasks, engine(), tmp_path / "log", SAMPLING, str)
    empty = next(task.key for task in tasks if task.system == "tuned")
    blank = stored[empty].reply.model_copy(update={"reply": ""})
    stored[empty] = stored[empty].model_copy(update={"reply": blank})
    assert write_replies(tmp_path, tasks, stored, "print").n_empty == {"base": 0, "tuned": 1, "human": 0}


@pytest.mark.slow
def test_a_second_judge_is_one_more_eval_config_and_no_more_replies(tmp_path):
    with OpenAIStub(varied=True) as server:
        write_data(tmp_path, n_prompts=6)
        config = {**served(server), "systems": ["base", "tuned", "tuned@2"]}
        args = write_configs(tmp_path, evaluation=config)
        other = tmp_path / "configs" / "eval-second.yaml"
        other.write_text(json.dumps({"extends": "quick", "judge": {"kind": "offline", "orders": "one"}}))
        assert ran("generate", args, tmp_path)[0] == 0
        n_asked = n_chats(server)
        code, said = ran("generate", [*args[:-1], str(other)], tmp_path)
        assert code == 0 and n_chats(server) == n_asked, said
        first, second = (tmp_path / f"adapters/mine/eval/{name}" for name in ("quick", "second"))
        for name in ("replies.jsonl", "candidates.jsonl", "model_metrics.json"):
            assert (first / name).read_bytes() == (second / name).read_bytes()
        assert len(read_jsonl(second / "replies.jsonl", Reply)) == 18
