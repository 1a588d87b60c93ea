"""What stands in the files of an export: numbers, names and settings, of a small Qwen3 and a small Llama."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from lib.base.errors import UserError
from lib.base.settings import SamplingConfig, TrainConfig
from lib.export import base_weights, exporting, merged
from lib.export.base_weights import INDEX, fetch_weights, n_bytes, weight_files, weights_here
from lib.export.engines import gguf_quantization
from lib.export.exporting import Exported, File, _fingerprint, export
from lib.export.gguf_file import _add_sizes, _pre_tokenizer
from lib.export.howto import how_to_use
from lib.export.lora import projection_sizes, read_lora
from lib.export.merged import write_merged
from lib.export.ollama import modelfile
from tests.engines import no_question, run_of
from tests.small_model import small_tokenizer

SAMPLING = SamplingConfig(temperature=0.6, top_p=0.9, top_k=11, max_new_tokens=77)
HIDDEN, MLP, HEADS, KV, HEAD = 40, 56, 4, 2, 16  # no two sizes of a projection are equal
LAYERS = {"qwen3": 11, "llama": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """kind -> (folder of the base, its run, the run's config)."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    found, tokenizer = {}, small_tokenizer()
    for kind, n_layers in LAYERS.items():
        base, run = (tmp_path_factory.mktemp(kind) / name for name in ("base", "run"))
        torch.manual_seed(3)
        shape = AutoConfig.for_model(
            kind, vocab_size=len(tokenizer) + 3, hidden_size=HIDDEN, intermediate_size=MLP,
            num_hidden_layers=n_layers, num_attention_heads=HEADS, num_key_value_heads=KV, head_dim=HEAD,
            max_position_embeddings=512, tie_word_embeddings=False,
        )  # fmt: skip
        AutoModelForCausalLM.from_config(shape).save_pretrained(base)
        tokenizer.save_pretrained(base)
        found[kind] = base, run, run_of(base, run)
    return found


@pytest.fixture
def lora_of(made, tmp_path):
    """kind -> the adapter of a copy of its run."""

    def copied(kind="qwen3"):
        _, run, config = made[kind]
        shutil.copytree(run, tmp_path / "run", dirs_exist_ok=True)
        return read_lora(tmp_path / "run", config)

    return copied


def written(lora, kind, dtype=None, sampling=SAMPLING):
    export(lora, kind, dtype, sampling, no_question)
    return lora.run / "export" / kind


def tensors_of(path):
    """(the reader, name -> numbers) of a GGUF file."""
    from gguf import GGUFReader

    reader = GGUFReader(path)
    return reader, {tensor.name: tensor.data for tensor in reader.tensors}


def value(reader, name):
    return reader.get_field(name).contents()


def interleaved(rows, n_heads):
    """Rows of llama.cpp's Llama: the two of a rotated pair are neighbours."""
    order = [
        head * HEAD + half * HEAD // 2 + pair
        for head in range(n_heads)
        for pair in range(HEAD // 2)
        for half in (0, 1)
    ]
    return rows[order]


# --- numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_a_gguf_adapter_holds_alpha_and_every_matrix_in_llama_cpps_order(lora_of, kind):
    import numpy as np

    lora = lora_of(kind)
    reader, tensors = tensors_of(written(lora, "gguf", "f32") / "adapter-f32.gguf")
    assert value(reader, "adapter.lora.alpha") == lora.alpha == 16 != lora.scale
    assert value(reader, "general.architecture") == kind
    matrices, layer = lora.matrices(), LAYERS[kind] - 1
    assert len(tensors) == 2 * len(matrices) == 2 * 7 * LAYERS[kind]
    for module, name, n_heads in (
        ("self_attn.q_proj", "attn_q", HEADS), ("self_attn.k_proj", "attn_k", KV),
        ("self_attn.v_proj", "attn_v", None), ("mlp.down_proj", "ffn_down", None),
    ):  # fmt: skip
        a, b = matrices[f"model.layers.{layer}.{module}"]
        b = interleaved(b, n_heads) if n_heads and kind == "llama" else b
        assert np.array_equal(tensors[f"blk.{layer}.{name}.weight.lora_a"], a)
        assert np.array_equal(tensors[f"blk.{layer}.{name}.weight.lora_b"], b)


def test_an_mlx_adapter_is_transposed_and_scaled_by_alpha_over_rank_in_every_layer(lora_of):
    import numpy as np
    from safetensors.numpy import load_file

    lora = lora_of()
    folder = written(lora, "mlx", "f32")
    tensors, matrices = load_file(folder / "adapters.safetensors"), lora.matrices()
    assert len(tensors) == 2 * len(matrices)
    for module, (a, b) in matrices.items():
        assert np.array_equal(tensors[f"{module}.lora_a"], a.T)
        assert np.array_equal(tensors[f"{module}.lora_b"], b.T)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["num_layers"] == LAYERS["qwen3"] and config["fine_tune_type"] == "lora"
    parameters = config["lora_parameters"]
    assert (parameters["rank"], parameters["scale"], parameters["dropout"]) == (8, 2.0, 0.0)
    assert {"self_attn.q_proj", "mlp.up_proj"} <= set(parameters["keys"]) and len(parameters["keys"]) == 7


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
@pytest.mark.parametrize("dtype", ["f16", "f32"])
def test_a_gguf_of_the_base_holds_its_sizes_tokens_and_weights(made, lora_of, kind, dtype):
    import numpy as np
    from safetensors.torch import load_file

    path = written(lora_of(kind), "base", dtype) / f"base-{dtype}.gguf"
    reader, tensors = tensors_of(path)
    assert gguf_quantization(path) == dtype
    sizes = {
        "block_count": LAYERS[kind], "context_length": 512, "embedding_length": HIDDEN,
        "feed_forward_length": MLP, "attention.head_count": HEADS, "attention.head_count_kv": KV,
        "attention.key_length": HEAD, "attention.value_length": HEAD, "rope.dimension_count": HEAD,
    }  # fmt: skip
    assert {name: value(reader, f"{kind}.{name}") for name in sizes} == sizes
    weights = load_file(made[kind][0] / "model.safetensors")
    key = weights["model.layers.0.self_attn.k_proj.weight"].numpy()
    key = interleaved(key, KV) if kind == "llama" else key
    assert np.array_equal(tensors["blk.0.attn_k.weight"], key.astype(tensors["blk.0.attn_k.weight"].dtype))
    assert tensors["blk.0.attn_k.weight"].dtype == {"f16": np.float16, "f32": np.float32}[dtype]
    assert tensors["blk.0.attn_norm.weight"].dtype == np.float32  # llama.cpp wants norms whole
    tokens, kinds = (value(reader, f"tokenizer.ggml.{name}") for name in ("tokens", "token_type"))
    types = dict(zip(tokens, kinds, strict=True))
    assert (types["<|im_end|>"], types["I"], types[tokens[-1]]) == (3, 1, 5)  # control, normal, unused
    assert value(reader, "tokenizer.ggml.add_bos_token") is False
    assert tokens[value(reader, "tokenizer.ggml.eos_token_id")] == "<|im_end|>"
    assert tokens[value(reader, "tokenizer.ggml.padding_token_id")] == "<|endoftext|>"
    assert "enable_thinking" in value(reader, "tokenizer.chat_template")


def test_scaled_positions_are_refused(made):
    scaled = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e6}
    shape = SimpleNamespace(head_dim=HEAD, rope_parameters=scaled)
    with pytest.raises(UserError, match="positions are scaled"):
        _add_sizes(None, shape)


BYTES = {"type": "ByteLevel", "use_regex": True}
QWEN = {"type": "Split", "pattern": {"Regex": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|\p{L}+|\p{N}| ?"}}
THREES = {"type": "Split", "pattern": {"Regex": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|\p{L}+|\p{N}{1,3}| ?"}}


@pytest.mark.parametrize(
    "model, steps, name",
    [
        ("BPE", [BYTES], "gpt-2"),
        ("BPE", [{"type": "Digits"}, BYTES], "smollm"),
        ("BPE", [QWEN, {**BYTES, "use_regex": False}], "qwen2"),
        ("BPE", [THREES, {**BYTES, "use_regex": False}], None),
        ("BPE", [{**BYTES, "use_regex": False}], None),
        ("Unigram", [BYTES], None),
        ("BPE", [{"type": "Whitespace"}], None),
        ("BPE", [], None),
    ],
)
def test_a_tokenizer_has_llama_cpps_name_or_is_refused(model, steps, name):
    content = {"model": {"type": model}, "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}
    if name:
        assert _pre_tokenizer(content, Path("base")) == name
    else:
        with pytest.raises(UserError, match="no GGUF can be written"):
            _pre_tokenizer(content, Path("base"))


def test_modules_stand_layer_by_layer_with_the_sizes_of_the_base(lora_of):
    lora = lora_of()
    layers = [int(module.split(".")[2]) for module in lora.modules]
    assert layers == sorted(layers) and layers[-1] == 10
    attention, kv = HEADS * HEAD, KV * HEAD
    assert projection_sizes(lora.shape) == {
        "q_proj": (HIDDEN, attention), "k_proj": (HIDDEN, kv), "v_proj": (HIDDEN, kv),
        "o_proj": (attention, HIDDEN), "gate_proj": (HIDDEN, MLP), "up_proj": (HIDDEN, MLP),
        "down_proj": (MLP, HIDDEN),
    }  # fmt: skip


def test_an_adapter_goes_with_the_base_that_it_was_trained_on_whatever_the_config_says_today(lora_of):
    lora = lora_of()
    manifest = json.loads((lora.run / "manifest.json").read_text())
    (lora.run / "manifest.json").write_text(json.dumps({**manifest, "revision": "trained"}))
    today = TrainConfig(data="sample", model="another/model", revision="today")
    now = read_lora(lora.run, today)
    assert (now.config.model, now.config.revision) == (lora.config.model, "trained")


# --- merged ------------------------------------------------------------------------------------------


def merge(lora, base, folder, sampling=SAMPLING):
    folder.mkdir(exist_ok=True)
    write_merged(lora, base, folder, "f16", sampling)
    return {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}


@pytest.fixture
def base(made, tmp_path):
    return Path(shutil.copytree(made["qwen3"][0], tmp_path / "base"))


def test_a_merged_model_answers_as_the_evaluation_asked(lora_of, base, tmp_path):
    lora = lora_of()
    (base / "generation_config.json").write_text('{"temperature": 0.1, "eos_token_id": 2, "top_k": 50}')
    (lora.run / "tokenizer_config.json").write_text('{"chat_template": "old", "eos_token": "x"}')
    found = merge(lora, base, tmp_path / "drawn")
    assert found["generation_config.json"] == {
        "temperature": 0.6, "top_p": 0.9, "top_k": 11, "max_new_tokens": 77, "do_sample": True,
        "eos_token_id": 2,
    }  # fmt: skip
    assert found["tokenizer_config.json"] == {"eos_token": "x"}
    assert found["config.json"]["dtype"] == "float16" and "torch_dtype" not in found["config.json"]
    greedy = SAMPLING.model_copy(update={"temperature": 0.0})
    found = merge(lora, base, tmp_path / "greedy", greedy)
    assert found["generation_config.json"] == {"max_new_tokens": 77, "do_sample": False, "eos_token_id": 2}


def test_a_base_that_cannot_be_merged_into_is_refused_before_anything_is_written(
    lora_of, base, tmp_path, monkeypatch
):
    lora, config = lora_of(), json.loads((base / "config.json").read_text())
    size = n_bytes(base)
    for free, said in ((size + 10**9 - 1, "Free disk space"), (size + 10**9, None)):
        monkeypatch.setattr(merged.shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        if said:
            with pytest.raises(UserError, match=said):
                merge(lora, base, tmp_path / "m")
            assert list((tmp_path / "m").iterdir()) == []
        else:
            merge(lora, base, tmp_path / "m")
    (base / "config.json").write_text(json.dumps({**config, "quantization_config": {"bits": 4}}))
    with pytest.raises(UserError, match="quantized weights"):
        merge(lora, base, tmp_path / "q")
    assert list((tmp_path / "q").iterdir()) == []


def test_a_base_that_lacks_a_module_or_does_not_fit_into_the_dtype_is_refused(lora_of, base, tmp_path):
    from safetensors.torch import load_file, save_file

    path, name = base / "model.safetensors", "model.layers.0.mlp.up_proj.weight"
    tensors = load_file(path)
    save_file({**tensors, name: tensors[name] * 1e9}, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"does not fit into f16\. Export with DTYPE=bf16"):
        merge(lora_of(), base, tmp_path / "large")
    save_file({key: one for key, one in tensors.items() if key != name}, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lacks model\.layers\.0\.mlp\.up_proj, which"):
        merge(lora_of(), base, tmp_path / "other")


def in_two_files(base):
    """base with its weights in two files and an index, as large models are."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(base / "model.safetensors")
    (base / "model.safetensors").unlink()
    names = {name: f"part-{number % 2}.safetensors" for number, name in enumerate(sorted(tensors))}
    for part in set(names.values()):
        one = {name: tensors[name] for name in tensors if names[name] == part}
        save_file(one, base / part, metadata={"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": names}
    (base / INDEX).write_text(json.dumps(index))
    return sum(tensor.nbytes for tensor in tensors.values())


def test_the_index_says_how_large_the_merged_files_are(lora_of, base, tmp_path):
    total = in_two_files(base)
    found = merge(lora_of(), base, tmp_path / "m")
    assert found[INDEX]["metadata"] == {"total_size": total // 2}  # 32 bit to 16
    assert found[INDEX]["weight_map"].keys() == json.loads((base / INDEX).read_text())["weight_map"].keys()


# --- the base's own weights --------------------------------------------------------------------------


def test_weights_are_here_when_every_file_of_them_is(base):
    config = TrainConfig(data="sample", model=str(base))
    assert weights_here(config) == base
    size = n_bytes(base)
    in_two_files(base)
    assert weights_here(config) == base and n_bytes(base) > 0.9 * size
    assert [path.name for path in weight_files(base)] == ["part-0.safetensors", "part-1.safetensors"]
    (base / "part-1.safetensors").unlink()
    assert weights_here(config) is None
    with pytest.raises(UserError, match="holds no whole model"):
        fetch_weights(config, no_question)


@pytest.mark.parametrize(
    "index",
    [{}, [], {"weight_map": {}}, {"weight_map": {"a": "../x.safetensors"}}, {"weight_map": {"a": "/x"}}],
)
def test_an_index_that_names_no_files_of_its_folder_is_refused(tmp_path, index):
    (tmp_path / INDEX).write_text(json.dumps(index))
    with pytest.raises(UserError, match="names no files of weights"):
        weight_files(tmp_path)


def test_a_download_is_asked_for_with_its_size_and_is_of_the_commit(monkeypatch, tmp_path):
    import huggingface_hub

    config = TrainConfig(data="sample", model="me/base", revision="abc123")
    files = [
        ("a.safetensors", 2e9),
        ("b.safetensors", 1.5e9),
        ("pytorch_model.bin", 9e9),
        ("README.md", None),
    ]
    siblings = [SimpleNamespace(rfilename=name, size=size) for name, size in files]
    asked, fetched = [], []

    class Api:
        def model_info(self, model, revision, files_metadata):
            asked.append((model, revision, files_metadata))
            return SimpleNamespace(siblings=siblings)

    def download(model, revision, allow_patterns):
        fetched.append((model, revision, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *names, revision: None)

    def no(question):
        asked.append(question)
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        fetch_weights(config, no)
    assert asked[0] == ("me/base", "abc123", True) and "me/base (3.5 GB) from http" in asked[1]
    assert fetched == []
    assert fetch_weights(config, str) == tmp_path
    assert fetched == [("me/base", "abc123", base_weights.WANTED)]


# --- when it is written again ------------------------------------------------------------------------


def test_an_export_is_another_one_when_anything_in_it_would_be(lora_of):
    from dataclasses import replace

    lora = lora_of()
    changes = {
        "revision": replace(lora, config=lora.config.model_copy(update={"revision": "other"})),
        "model": replace(lora, config=lora.config.model_copy(update={"model": "other"})),
        "weights": replace(lora, sha256="0" * 64),
        "rank": replace(lora, rank=4),
        "alpha": replace(lora, alpha=4.0),
    }
    warm = SAMPLING.model_copy(update={"temperature": 1.0})
    for kind in ("gguf", "mlx", "merged", "base"):
        plain = _fingerprint(lora, kind, "f16", SAMPLING)
        assert plain == _fingerprint(lora, kind, "f16", SAMPLING)
        for name, other in changes.items():
            is_other = _fingerprint(other, kind, "f16", SAMPLING) != plain
            assert is_other == (kind != "base" or name in ("revision", "model")), (kind, name)
        assert _fingerprint(lora, kind, "f32", SAMPLING) != plain
        assert (_fingerprint(lora, kind, "f16", warm) != plain) == (kind in ("gguf", "merged"))
    plain = _fingerprint(lora, "merged", "f16", SAMPLING)
    (lora.run / "chat_template.jinja").write_text("another")
    assert _fingerprint(lora, "merged", "f16", SAMPLING) != plain


def test_a_damaged_export_is_written_again_and_what_a_killed_one_left_is_not_taken_in(lora_of):
    lora = lora_of()
    folder = written(lora, "mlx")
    path = folder / "adapters.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # as long as before
    partial = folder.with_name("mlx.partial")
    partial.mkdir()
    (partial / "left.txt").touch()
    assert written(lora, "mlx") == folder and path.read_bytes() == whole
    assert {one.name for one in folder.iterdir()} == {
        "adapters.safetensors",
        "adapter_config.json",
        "manifest.json",
    }
    assert {one.name for one in folder.parent.iterdir()} == {"mlx", "mlx.lock"}
    (folder / "more.txt").touch()
    assert export(lora, "mlx", None, SAMPLING, no_question)[1] is True


def test_every_file_and_the_folder_are_on_the_disk_before_an_export_is_one(lora_of, monkeypatch):
    steps, real, renames = [], exporting.os.fsync, Path.rename
    monkeypatch.setattr(
        exporting.os, "fsync", lambda handle: (steps.append(os.fstat(handle).st_ino), real(handle))
    )
    monkeypatch.setattr(exporting, "sync_folder", lambda folder: steps.append(f"folder {folder.name}"))
    monkeypatch.setattr(
        Path, "rename", lambda path, to: (steps.append(f"-> {to.name}"), renames(path, to))[1]
    )
    lora = lora_of()
    steps.clear()
    folder = written(lora, "mlx")
    at = steps.index("-> mlx")
    assert {path.stat().st_ino for path in folder.iterdir()} <= set(steps[:at])
    assert steps[at + 1] == "folder export"


def test_a_failed_export_leaves_nothing(lora_of, monkeypatch):
    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "write_mlx", fails)
    lora = lora_of()
    with pytest.raises(OSError, match="No space"):
        written(lora, "mlx")
    assert not (lora.run / "export").exists()


# --- what a person reads -----------------------------------------------------------------------------


def test_a_modelfile_stops_at_a_turn_and_samples_as_the_evaluation():
    lines = modelfile("./a.gguf", "base.gguf", "think", SAMPLING).splitlines()
    assert lines[:2] == ["FROM base.gguf", "ADAPTER ./a.gguf"]
    assert {line for line in lines if line.startswith("PARAMETER")} == {
        'PARAMETER stop "<|im_end|>"', 'PARAMETER stop "<|endoftext|>"', "PARAMETER temperature 0.6",
        "PARAMETER top_p 0.9", "PARAMETER top_k 11", "PARAMETER num_predict 77",
    }  # fmt: skip
    assert "ADAPTER" not in modelfile(None, "base.gguf", "", SAMPLING)


def test_an_export_for_ollama_has_a_modelfile_for_each_arm(lora_of):
    folder = written(lora_of(), "gguf")
    assert (folder / "Modelfile").read_text().splitlines()[1] == "ADAPTER ./adapter-f16.gguf"
    assert "ADAPTER" not in (folder / "Modelfile.base").read_text()


@pytest.mark.parametrize(
    "kind, files, lines",
    [
        ("gguf", ["Modelfile"], ["ollama create reply-x -f at/Modelfile", "--lora at/adapter-f16.gguf",
                                 "next: make serve ENGINE=llamacpp RUN=x"]),
        ("gguf", [], ["--lora at/adapter-f16.gguf", "next: make serve ENGINE=llamacpp RUN=x"]),
        ("mlx", [], ["next: make serve ENGINE=mlx RUN=x"]),
        ("merged", [], ["vllm serve at --host 127.0.0.1", "--hf-path at", "next: make demo RUN=x"]),
    ],
)  # fmt: skip
def test_each_format_is_followed_by_what_reads_it(kind, files, lines):
    one = {name: File(bytes=1, sha256="0") for name in files}
    said = how_to_use(Exported.model_construct(run="x", format=kind, dtype="f16", files=one), Path("at"))
    found = said.splitlines()
    assert len(found) == len(lines)
    assert all(line in shown for line, shown in zip(lines, found, strict=True)), said
