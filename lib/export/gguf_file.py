"""GGUF files, as llama.cpp reads them: an adapter, and a small base model where nobody offers one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.base.errors import UserError
from lib.base.files import read_json
from lib.base.text_files import read_text
from lib.export.lora import Lora, as_dtype

if TYPE_CHECKING:
    import numpy as np

MAX_TEMPLATE_BYTES = 1_000_000


def write_adapter(lora: Lora, path: Path, dtype: str) -> None:
    """A LoRA for `llama-server --lora` and Ollama's ADAPTER. dtype: f16 | f32."""
    import numpy as np

    writer, names = _writer(lora, path)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", lora.alpha)  # llama.cpp divides it by the rank itself
    for module, (a, b) in lora.matrices(dtype).items():
        name = f"{names.get_name(module)}.weight"
        writer.add_tensor(f"{name}.lora_a", a)
        writer.add_tensor(f"{name}.lora_b", np.ascontiguousarray(_rows(module, b, lora.shape)))
    _write(writer)


def write_base(lora: Lora, source: Path, path: Path, dtype: str) -> None:
    """The base model in the folder source, with its tokenizer and chat template. dtype: f16 | f32."""
    import gguf
    from safetensors.torch import load_file

    writer, names = _writer(lora, path)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if dtype == "f16" else gguf.LlamaFileType.ALL_F32)
    _add_sizes(writer, lora.shape)
    _add_tokenizer(writer, source, lora.shape)
    for part in sorted(source.glob("*.safetensors")):
        for name, tensor in load_file(part).items():
            module, _, kind = name.rpartition(".")
            known = names.get_name(module)
            if known is None or kind != "weight":
                raise UserError(f"{part} holds {name}, which llama.cpp does not know. Use another engine.")
            values = _rows(module, tensor.float().numpy(), lora.shape)
            writer.add_tensor(f"{known}.weight", as_dtype(values, dtype if values.ndim > 1 else "f32", name))
    _write(writer)


def _writer(lora: Lora, path: Path) -> tuple[Any, Any]:
    import gguf

    architecture = gguf.MODEL_ARCH[lora.architecture.upper()]
    names = gguf.get_tensor_name_map(architecture, lora.shape.num_hidden_layers)
    return gguf.GGUFWriter(str(path), lora.architecture), names


def _write(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _rows(module: str, weights: "np.ndarray", shape: Any) -> "np.ndarray":
    """The rows in llama.cpp's order: its RoPE of Llama turns neighbours, not the halves of a head."""
    heads = {"q_proj": shape.num_attention_heads, "k_proj": shape.num_key_value_heads}
    n_heads = heads.get(module.rpartition(".")[2])
    if n_heads is None or shape.model_type != "llama":
        return weights
    n_rows, n_columns = weights.shape
    halves = weights.reshape(n_heads, 2, n_rows // n_heads // 2, n_columns)
    return halves.swapaxes(1, 2).reshape(n_rows, n_columns)


def _add_sizes(writer: Any, shape: Any) -> None:
    head = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
    scaling = shape.rope_parameters
    if scaling.get("rope_type", "default") != "default":
        raise UserError(
            f"Its positions are scaled ({scaling}), which is not written here. Use a GGUF of it: MODEL=..."
        )
    writer.add_block_count(shape.num_hidden_layers)
    writer.add_context_length(shape.max_position_embeddings)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.num_attention_heads)
    writer.add_head_count_kv(shape.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(scaling["rope_theta"])
    writer.add_layer_norm_rms_eps(shape.rms_norm_eps)
    writer.add_vocab_size(shape.vocab_size)


def _add_tokenizer(writer: Any, source: Path, shape: Any) -> None:
    """A byte-level BPE tokenizer: vocabulary, merges, kinds of tokens, and how text is cut before merging."""
    import gguf

    content, settings = read_json(source / "tokenizer.json"), read_json(source / "tokenizer_config.json")
    vocabulary = dict(content["model"]["vocab"])
    added = {token["content"]: token for token in content["added_tokens"]}
    vocabulary |= {name: token["id"] for name, token in added.items()}
    by_id = {number: token for token, number in vocabulary.items()}
    tokens, kinds = [], []
    for number in range(shape.vocab_size):
        token = by_id.get(number)
        tokens.append(token if token is not None else f"[PAD{number}]")
        special = token in added and added[token]["special"]
        kind = gguf.TokenType.NORMAL if token is not None else gguf.TokenType.UNUSED
        kind = gguf.TokenType.USER_DEFINED if token in added else kind
        kinds.append(gguf.TokenType.CONTROL if special else kind)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(content, source))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in content["model"]["merges"]])
    for name, add in (("eos_token", writer.add_eos_token_id), ("pad_token", writer.add_pad_token_id)):
        token = settings.get(name)
        token = token.get("content") if isinstance(token, dict) else token
        if token in vocabulary:
            add(vocabulary[token])
    writer.add_add_bos_token(False)
    writer.add_chat_template(read_text(source / "chat_template.jinja", MAX_TEMPLATE_BYTES))


def _pre_tokenizer(content: dict[str, Any], source: Path) -> str:
    """llama.cpp's name of how the text is cut into words. Raises UserError for a way without a name here."""
    step = content.get("pre_tokenizer") or {}
    steps = {one["type"]: one for one in step.get("pretokenizers", [step]) if "type" in one}
    pattern = str(steps.get("Split", {}).get("pattern", {}).get("Regex", ""))
    if content["model"].get("type") == "BPE" and "ByteLevel" in steps:
        if pattern.startswith("(?i:'s|'t|'re") and r"|\p{N}|" in pattern:
            return "qwen2"
        if not pattern and steps["ByteLevel"].get("use_regex", True):
            return "smollm" if "Digits" in steps else "gpt-2"
    raise UserError(
        f"{source}: no GGUF can be written with this tokenizer. Name one of this model: MODEL=model.gguf."
    )
