"""Which replies are wanted, what each depends on, and which of the log's are still those."""

import pytest

from lib.base.errors import UserError
from lib.base.files import read_dicts
from lib.base.schema import Reply
from lib.base.settings import SamplingConfig
from lib.evaluate.replies import (
    answer_all,
    conversations,
    missing,
    plan,
    read_log,
    refuse_unlike_arms,
    unfinished,
)
from lib.model.generate import Engine, Generated
from tests.eval_data import pair, prompt

SYSTEMS = ["base", "fewshot", "tuned", "human"]
PROMPTS = [prompt(n) for n in range(4)]
EXAMPLES = {one.tweet_id: [pair(1)] for one in PROMPTS}


def tasks_of(prompts=PROMPTS, arms=None, text="{tweet}", examples=EXAMPLES, systems=SYSTEMS, **sampling):
    arms = {"base": "b", "fewshot": "b", "tuned": "t", **(arms or {})}
    return plan(systems, prompts, conversations(text, {}, examples), arms, SamplingConfig(**sampling))


def keys(tasks):
    return {(task.tweet_id, task.system): task.key for task in tasks}


def changed(tasks, others):
    """The systems whose replies are all made anew; AssertionError if it is some of them only."""
    before, after = keys(tasks), keys(others)
    assert before.keys() == after.keys()
    new = {system for (_, system), key in before.items() if key not in after.values()}
    assert all(after[name] == key for name, key in before.items() if name[1] not in new)
    return new


OF_MODELS = {"base", "fewshot", "tuned"}


@pytest.mark.parametrize(
    "changes, anew",
    [
        ({}, set()),
        ({"temperature": 0.8}, OF_MODELS),
        ({"seed": 18}, OF_MODELS),
        ({"top_p": 0.9}, OF_MODELS),
        ({"top_k": 0}, OF_MODELS),
        ({"max_new_tokens": 60}, OF_MODELS),
        ({"text": "Answer: {tweet}"}, OF_MODELS),
        ({"arms": {"tuned": "another adapter"}}, {"tuned"}),
        ({"arms": {"base": "c", "fewshot": "c"}}, {"base", "fewshot"}),
        ({"examples": {one.tweet_id: [pair(2)] for one in PROMPTS}}, {"fewshot"}),
    ],
)
def test_what_a_reply_depends_on_makes_it_anew_and_nothing_else_does(changes, anew):
    assert changed(tasks_of(), tasks_of(**changes)) == anew


def test_another_human_reply_is_another_and_a_tweet_without_one_has_none():
    other = [one.model_copy(update={"human_reply": "something else"}) for one in PROMPTS]
    assert changed(tasks_of(), tasks_of(other)) == {"human"}
    silent = [one.model_copy(update={"human_reply": None}) for one in PROMPTS]
    assert {task.system for task in tasks_of(silent)} == OF_MODELS


def test_every_reply_has_a_key_of_its_own():
    tasks = tasks_of(systems=[*SYSTEMS, "tuned@3"])
    assert len({task.key for task in tasks}) == len(tasks) == 5 * len(PROMPTS)


def engine(asked, name="transformers", quantization="nf4", batch=2, dies_after=None):
    def answer(system, turns, candidate=0):
        for n in range(len(turns)):
            if len(asked) == dies_after:
                raise KeyboardInterrupt
            asked.append((system, n))
            yield n, Generated(f"{name} {system} {n}", 3, 0.1)

    return Engine(name, quantization, batch, answer)


def made(tmp_path, found, **options):
    return answer_all(tasks_of(**options), found, tmp_path / "log", SamplingConfig(), lambda line: None)


def test_a_reply_is_in_the_log_as_soon_as_it_is_made(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path, engine([], dies_after=5))
    assert [row["reply"]["system"] for row in read_dicts(tmp_path / "log")] == ["base"] * 4 + ["fewshot"]
    asked = []
    stored = made(tmp_path, engine(asked))
    # The batch that was cut short is computed as a whole, and its first reply kept as it was.
    assert asked == [*(("fewshot", n) for n in range(4)), *(("tuned", n) for n in range(4))]
    assert len(read_log(tmp_path / "log")) == 12 and len(stored) == 16
    assert missing(tasks_of(), stored) == []


@pytest.mark.parametrize("other", [{"name": "openai"}, {"quantization": "Q4_K_M"}])
def test_replies_of_another_engine_are_made_anew_all_of_them(tmp_path, other):
    made(tmp_path, engine([]))
    asked = []
    stored = made(tmp_path, engine(asked, **other))
    assert len(asked) == 12
    kinds = {
        (one.reply.engine, one.reply.quantization) for one in stored.values() if one.reply.system != "human"
    }
    assert len(kinds) == 1


@pytest.mark.parametrize("batch, n_again", [(1, 1), (2, 2), (3, 3), (4, 4)])
def test_a_batch_that_lacks_a_reply_is_computed_whole_and_others_are_not(batch, n_again):
    tasks = [task for task in tasks_of() if task.system == "base"]
    stored = dict.fromkeys(task.key for task in tasks[1:])
    assert [task.tweet_id for task in unfinished(tasks, stored, batch)] == [
        task.tweet_id for task in tasks[:n_again]
    ]


def reply(system, engine="transformers", quantization="nf4"):
    values = {"tweet_id": "1", "reply": "x", "seed": 1, "tokens": 1, "seconds": 0.0}
    return Reply(system=system, engine=engine, quantization=quantization, **values)


@pytest.mark.parametrize("other", [{"quantization": "Q4_K_M"}, {"engine": "openai"}])
def test_arms_that_were_answered_otherwise_are_not_compared(other):
    alike = [reply("base"), reply("tuned"), reply("human", "human", "none")]
    refuse_unlike_arms(alike)
    with pytest.raises(UserError, match="differ in engine or quantization"):
        refuse_unlike_arms([reply("base", **other), *alike[1:]])
