"""A small random Qwen3 with Qwen3's own chat template and a LoRA that changes its answers: real classes,
seconds to build.
"""

from pathlib import Path
from types import SimpleNamespace

TEXTS = [
    "I finally fixed my bike and the coffee tastes better for it",
    "What did you cook today? Anyone up for tea? Why not, I say",
    "Generate an engaging Twitter reply to: user assistant system think",
]
CONTROL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
]


def small_tokenizer():
    """A byte-level BPE tokenizer of a few hundred tokens with Qwen3's control tokens and template."""
    import trl
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=CONTROL, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(TEXTS * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.chat_template = (Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja").read_text()
    return tokenizer


def small_base(n_tokens: int, nf4: bool = False):
    """Two layers of Qwen3 with random but fixed weights; nf4 puts bitsandbytes' 4-bit linears in."""
    import tempfile

    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(3)
    config = Qwen3Config(
        vocab_size=n_tokens, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16,
        max_position_embeddings=1024, initializer_range=0.15,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    model.lm_head.weight.data[: len(CONTROL)] = (
        0  # random weights would write control tokens into every reply
    )
    if not nf4:
        return model
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
    )
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return AutoModelForCausalLM.from_pretrained(
            folder, quantization_config=quantization, device_map="cpu", dtype=torch.float32
        )


def small_peft(nf4: bool = False):
    """(PeftModel with a non-zero adapter "default", tokenizer)."""
    import torch
    from peft import LoraConfig, get_peft_model

    from lib.base.settings import ALL_LINEAR

    tokenizer = small_tokenizer()
    lora = LoraConfig(r=4, lora_alpha=4, target_modules=list(ALL_LINEAR), task_type="CAUSAL_LM")
    model = get_peft_model(small_base(len(tokenizer), nf4), lora)
    torch.manual_seed(4)
    for name, weights in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.3)
    return model.eval(), tokenizer


def small_loaded(nf4: bool = False) -> SimpleNamespace:
    """The same fields as lib.model.loading.Loaded."""
    model, tokenizer = small_peft(nf4)
    return SimpleNamespace(
        model=model,
        tokenizer=tokenizer,
        engine="transformers",
        quantization="nf4" if nf4 else "fp32",
        device="cpu",
        base_model="small",
    )
