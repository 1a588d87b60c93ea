"""lib/export/howto.py: what a model card tells strangers to type works as written, and never thinks."""

import json
import re
import shlex
import subprocess
import sys

import pytest

from lib.base.errors import UserError
from lib.base.settings import LoraConfig, SamplingConfig, TrainConfig
from lib.export.exporting import export
from lib.export.howto import FOLDER, TO_MLX, on_other_engines
from lib.publish.known import Known
from lib.publish.leaks import scan
from tests.engines import environment, needs_engines, no_question
from tests.export.test_serve import RUN, tiny_lora
from tests.small_model import small_peft

QWEN = TrainConfig(data="main", revision="b968826d9c46dd6066d109eabc6255188de91218")
PROMPT = 'It\'s "a" reply, $HOME `pwd`\n\nto: {tweet}'
SAMPLING = SamplingConfig(temperature=0.6, top_p=0.7, top_k=11, max_new_tokens=77)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    small_peft()[1].save_pretrained(folder)
    return folder


def commands(text):
    """The lines of the shell blocks, each split as a shell does."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def told(run, config=QWEN):
    return on_other_engines("ann/reply-8b", run, config, SAMPLING)


def test_every_engine_is_told_with_thinking_off(run):
    text = told(run)
    lines = {words[0]: words for words in commands(text)}
    assert lines["llama-server"][lines["llama-server"].index("--reasoning") + 1] == "off"
    assert json.loads(lines["mlx_lm.server"][lines["mlx_lm.server"].index("--chat-template-args") + 1]) == {
        "enable_thinking": False
    }
    vllm = lines["vllm"]
    assert json.loads(vllm[vllm.index("--default-chat-template-kwargs") + 1]) == {"enable_thinking": False}
    assert vllm[vllm.index("--revision") + 1] == QWEN.revision
    assert "reply=ann/reply-8b" in vllm
    template = text.split('TEMPLATE """')[1].split('"""')[0]
    assert template.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_the_request_asks_as_the_run_was_trained_whatever_stands_in_its_prompt(run):
    (request,) = (
        words
        for words in commands(told(run, QWEN.model_copy(update={"prompt": PROMPT})))
        if words[0] == "curl"
    )
    body = json.loads(request[-1])
    assert body["messages"] == [{"role": "user", "content": PROMPT.replace("{tweet}", "TWEET")}]
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    asked = {name: body[name] for name in ("temperature", "top_p", "top_k", "max_tokens")}
    assert asked == {"temperature": 0.6, "top_p": 0.7, "top_k": 11, "max_tokens": 77}


def test_what_is_told_is_no_leak(run):
    assert scan("README.md", told(run), Known()) == []


def test_nothing_is_told_of_a_base_model_that_nobody_has(run):
    assert told(run, QWEN.model_copy(update={"model": "tiny", "revision": None})) == ""


def test_an_unknown_base_model_is_a_file_of_the_readers_own(run):
    text = told(run, QWEN.model_copy(update={"model": "ann/base", "revision": None}))
    assert "llama-server -m base.gguf" in text
    assert "FROM base.gguf" in text
    assert "--model ann/base" in text
    assert "--revision" not in text


def test_the_rank_is_one_that_vllm_takes(run):
    def of(rank):
        return told(run, QWEN.model_copy(update={"lora": LoraConfig(rank=rank, alpha=16)}))

    assert "--max-lora-rank 32 " in of(17)
    assert "takes adapters up to rank 512" in of(513)
    assert "vllm serve" not in of(513)


def test_another_chat_than_chatml_gets_no_modelfile(run, tmp_path):
    tokenizer = small_peft()[1]
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}[assistant]"
    tokenizer.save_pretrained(tmp_path)
    text = told(tmp_path)
    assert "no Modelfile is given" in text
    assert "TEMPLATE" not in text


def test_a_damaged_tokenizer_is_a_sentence(run, tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(UserError, match="its tokenizer cannot be read"):
        told(tmp_path)


@pytest.mark.slow
@needs_engines
def test_the_cards_code_for_mlx_writes_what_our_own_export_writes(tiny_run, tmp_path):
    export(tiny_lora(), "mlx", "f16", SamplingConfig(), no_question)
    (tmp_path / FOLDER).symlink_to(RUN.resolve())
    compare = f"""
import mlx.core as mx
ours = mx.load({str(RUN.resolve() / "export/mlx/adapters.safetensors")!r})
theirs = mx.load("{FOLDER}-mlx/adapters.safetensors")
assert ours.keys() == theirs.keys()
assert all(mx.array_equal(ours[name], theirs[name]).item() for name in ours)
assert all(ours[name].dtype == theirs[name].dtype for name in ours)
"""
    subprocess.run([sys.executable, "-c", TO_MLX + compare], cwd=tmp_path, env=environment(), check=True)
    written = json.loads((tmp_path / f"{FOLDER}-mlx/adapter_config.json").read_text())
    assert written == json.loads((RUN / "export/mlx/adapter_config.json").read_text())
