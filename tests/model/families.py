"""Tokenizer folders of several families, built on the spot: their control tokens, their templates, a few
hundred words.
"""

from pathlib import Path
from types import SimpleNamespace

from tests.small_model import CONTROL, TEXTS

CHATML = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system prompt') "
    "}}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\n\n'"
    " + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + "
    "content %}"
    "{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + ('model' if message['role'] == "
    "'assistant' "
    "else 'user') + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
PHI3 = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% "
    "endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + "
    "message['content'] "
    "+ '[/INST]' }}{% else %}{{ ' ' + message['content'] | trim + eos_token }}{% endif %}{% endfor %}"
)


def qwen3_template():
    import trl

    return (Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja").read_text()


def family(tokens, template, given, end, **special):
    """given: what stands before the answer to "Hi?" asked by "Say: {tweet}"; end: what closes it."""
    return SimpleNamespace(tokens=tokens, template=template, given=given, end=end, special=special)


FAMILIES = {
    "qwen3": lambda: family(
        CONTROL,
        qwen3_template(),
        "<|im_start|>user\nSay: Hi?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        "<|im_end|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    ),
    "llama3": lambda: family(
        [
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|reserved_special_token_0|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eot_id|>",
        ],
        LLAMA3,
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nSay: Hi?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|eot_id|>",
        bos_token="<|begin_of_text|>",
        eos_token="<|end_of_text|>",  # as its first release: not what ends an answer
    ),
    "chatml": lambda: family(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        CHATML,
        "<|im_start|>user\nSay: Hi?<|im_end|>\n<|im_start|>assistant\n",
        "<|im_end|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    ),
    "gemma": lambda: family(
        ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", "\n\n", "<b>", "</b>"],
        GEMMA,
        "<bos><start_of_turn>user\nSay: Hi?<end_of_turn>\n<start_of_turn>model\n",
        "<end_of_turn>",
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
    ),
    "phi3": lambda: family(
        ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"],
        PHI3,
        "<|user|>\nSay: Hi?<|end|>\n<|assistant|>\n",
        "<|end|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
    ),
}


def tokenizer_folder(folder, name="chatml", template=None, extra=("[EXTRA_7]",)):
    """The folder, with the files of a family's tokenizer; template: another than its own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    kind = FAMILIES[name]()
    tokens = [*kind.tokens, *extra]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=tokens, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(TEXTS * 4, trainer)
    if bos := kind.special.get("bos_token"):  # as Llama 3 does to every text that is not a chat
        number = backend.token_to_id(bos)
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, number)]
        )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **kind.special)
    tokenizer.chat_template = kind.template if template is None else template
    tokenizer.save_pretrained(folder)
    return folder


def model_config(folder, **sizes):
    """config.json of a Llama beside the tokenizer."""
    from transformers import LlamaConfig

    sizes = {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    } | sizes
    LlamaConfig(**sizes).save_pretrained(folder)
    return folder
