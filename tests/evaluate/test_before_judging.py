"""`make eval`: what the judge lacks is found before a reply is written, which may take an hour of a GPU."""

import sys
from pathlib import Path

import pytest

from lib.base.errors import UserError
from scripts.generate import main

EVAL = "{systems: [base, tuned], max_prompts: 1, judge: {kind: claude, model: %s, max_usd: 5}}"


@pytest.mark.parametrize(
    "lacks, said",
    [
        ("key", "ANTHROPIC_API_KEY is not set"),
        ("package", "anthropic is not installed. Run `make setup`"),
        ("price", "the price of claude-nobody-knows is not known"),
        ("budget", r"budget of \$0.00 does not pay for one verdict"),
    ],
)
def test_a_judge_that_cannot_be_asked_is_refused_before_the_first_reply(lacks, said, tiny_run, monkeypatch):
    model = "claude-nobody-knows" if lacks == "price" else "claude-sonnet-5-5"
    Path("configs/eval-c.yaml").write_text(EVAL % model)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "" if lacks == "key" else "sk-ant-of-nobody")
    monkeypatch.setenv("MAX_USD", "0.0001" if lacks == "budget" else "")
    if lacks == "package":
        monkeypatch.setitem(sys.modules, "anthropic", None)
    arguments = ["--config", "configs/train-tiny.yaml", "--eval", "configs/eval-c.yaml", "--then-judge"]
    monkeypatch.setattr(sys, "argv", ["generate", *arguments])
    with pytest.raises(UserError, match=said):
        main()
    assert not Path("adapters/tiny/eval").exists()
