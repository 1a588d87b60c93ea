"""Loading models: the base in the wanted precision, with a fresh adapter to train or a trained one to answer
with.

The only module that knows Unsloth, which patches what it finds imported and so has to come before trl,
transformers and peft.
"""

import contextlib
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.hardware import idle_cores
from lib.base.settings import TrainConfig
from lib.model.adapters import (
    ADAPTER_FILE,
    adapter_to_fp32,
    assert_only_adapter_trains,
    check_adapter,
    fill_adapter,
    lora_config,
    lora_settings,
    name_base,
)
from lib.model.base_model import (
    TINY,
    device_of,
    load_shape,
    load_tokenizer,
    missing_model,
    pinned,
    precision_of,
    source_of,
)
from lib.model.machine import mlx_backend


@dataclass(frozen=True)
class Loaded:
    """One copy of the weights that answers as base (`with model.disable_adapter()`) and as tuned.

    engine: "transformers". quantization: nf4 | bf16 | fp32. base_model: the name the adapter carries.
    """

    model: Any
    tokenizer: Any
    engine: str
    quantization: str
    device: str
    base_model: str


def resolve_backend(config: TrainConfig) -> tuple[str, str]:
    """("unsloth" | "peft" | "mlx", why).

    Raises UserError if the config insists on Unsloth or MLX and this machine cannot run it.
    """
    if found := mlx_backend(config):
        return found
    import torch

    has_gpu = torch.cuda.is_available()
    has_unsloth = (
        importlib.util.find_spec("unsloth") is not None
    )  # finds it without importing it: a broken one fails loudly later
    missing = " and ".join(
        what
        for what, there in (("no CUDA GPU", has_gpu), ("no package unsloth (make setup-runpod)", has_unsloth))
        if not there
    )
    if config.backend == "peft":
        return "peft", "the config says so"
    if not missing:
        return (
            "unsloth",
            "a CUDA GPU and the package unsloth are here"
            if config.backend == "auto"
            else "the config says so",
        )
    if config.backend == "unsloth":
        raise UserError(
            f"backend: unsloth cannot run here: {missing}. Set backend: auto, or train on an NVIDIA machine "
            "(docs/runpod-by-hand.md)."
        )
    return "peft", f"plain TRL and PEFT: {missing}"


def prepare_libraries(backend: str) -> None:
    """Import Unsloth first where it is used, and keep the libraries' own chatter off the console."""
    os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # says that a kernel for CPUs is not installed
    if backend == "unsloth":
        importlib.import_module("unsloth")
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings(
        "ignore", module=r"(transformers|trl|peft|torch|bitsandbytes|accelerate|datasets)\b"
    )


def load_model_for_training(config: TrainConfig, checkpointing: bool = False) -> tuple[Any, Any]:
    """(model with an adapter in fp32 on all targets, tokenizer): a fresh one, or for dpo and kto the
    init_adapter's weights.

    Nothing but the adapter is trainable, and the base is held as the config says; both are checked.
    """
    backend, _ = resolve_backend(config)
    prepare_libraries(backend)
    from transformers import set_seed

    set_seed(config.seed)  # the adapter's first weights are random
    model, tokenizer = _unsloth(config, checkpointing) if backend == "unsloth" else _peft(config)
    if config.init_adapter:
        fill_adapter(model, Path("adapters") / config.init_adapter / ADAPTER_FILE)
    name_base(model, config)
    adapter_to_fp32(model)
    assert_only_adapter_trains(model, config)
    if config.quantization == "nf4":
        _hold_in_four_bits(model)
    return model, tokenizer


def _hold_in_four_bits(model: Any) -> None:
    """Raise UserError unless every target is NF4, double quantised: where bitsandbytes does not work, Unsloth
    goes on in 16 bits.
    """
    targets = [
        module.base_layer
        for module in model.modules()
        if hasattr(module, "lora_A") and hasattr(module, "base_layer")
    ]
    states = [getattr(target.weight, "quant_state", None) for target in targets]
    if not all(state is not None and state.quant_type == "nf4" and state.nested for state in states):
        raise UserError(
            "quantization: nf4 did not take effect: bitsandbytes does not work on this machine (`python -m "
            "bitsandbytes` says why). "
            "Mend it (make setup-runpod), or set quantization: none on a GPU with 48 GB or more."
        )
    for target in targets:
        # On a CPU with AVX512-BF16 bitsandbytes 0.50 repacks the weights at the first evaluation, for a
        # product that has no gradient: from then on nothing would flow back through the base layers.
        target.support_avx512bf16_for_cpu = False


def _peft(config: TrainConfig) -> tuple[Any, Any]:
    from peft import get_peft_model

    return get_peft_model(_base_model(config), lora_config(config)), load_tokenizer(config)


def _unsloth(config: TrainConfig, checkpointing: bool) -> tuple[Any, Any]:
    import torch
    from unsloth import FastLanguageModel

    recompute = "unsloth" if checkpointing else False
    with missing_model(config):
        model, tokenizer = FastLanguageModel.from_pretrained(
            model_name=source_of(config),
            revision=config.revision,
            use_exact_model_name=True,  # or it loads, and the adapter names, Unsloth's own copy of the model
            max_seq_length=config.max_length,
            dtype=torch.bfloat16,
            load_in_4bit=config.quantization == "nf4",
            # its default sets aside memory for it on GPU and host, used or not
            use_gradient_checkpointing=recompute,
            random_state=config.seed,
        )
    model = FastLanguageModel.get_peft_model(
        model,
        **lora_settings(config),
        use_gradient_checkpointing=recompute,
        random_state=config.seed,
        max_seq_length=config.max_length,
        loftq_config={},
    )
    return model, tokenizer


def _base_model(config: TrainConfig) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    device = device_of(config)
    precision = precision_of(config, device)
    options: dict[str, Any] = {
        "dtype": torch.float32 if precision == "fp32" else torch.bfloat16,
        "device_map": {"": device},
    }
    if precision == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    if device == "cpu":  # the tiny model: see lib.model.tiny.one_thread
        torch.set_num_threads(1 if config.model == TINY else min(torch.get_num_threads(), idle_cores()))
    with missing_model(config):
        return AutoModelForCausalLM.from_pretrained(source_of(config), revision=config.revision, **options)


def load_for_inference(run_folder: Path, config: TrainConfig) -> Loaded:
    """The base model with the run's adapter, checked before any weight is loaded.

    Raises UserError if the run is not finished, its adapter is damaged or was trained on another base model.
    """
    prepare_libraries("peft")
    config = pinned(config, run_folder / "manifest.json")
    tokenizer = load_tokenizer(config)
    check_adapter(run_folder, config, load_shape(config))
    from peft import PeftModel

    model = PeftModel.from_pretrained(_base_model(config), str(run_folder)).eval().requires_grad_(False)
    device = device_of(config)
    return Loaded(model, tokenizer, "transformers", precision_of(config, device), device, config.model)


@contextlib.contextmanager
def answering(model: Any, checkpointing: bool = False) -> Iterator[None]:
    """The model being trained, for a moment as it answers: no dropout, no gradient, and the random numbers as
    they were.

    checkpointing: whether training uses gradient checkpointing, which Unsloth has to be told again.
    """
    import torch

    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        getattr(model, "for_inference", model.eval)()  # Unsloth has its own two switches
        try:
            yield
        finally:
            model.for_training(use_gradient_checkpointing=checkpointing) if hasattr(
                model, "for_training"
            ) else model.train()
