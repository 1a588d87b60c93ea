"""Loading models: the base in the wanted precision, with a fresh adapter to train or a trained one to answer with.

The only module that knows Unsloth, which patches what it finds imported and so has to come before trl, transformers and peft.
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

from lib.adapters import ADAPTER_FILE, adapter_to_fp32, assert_only_adapter_trains, check_adapter, fill_adapter, name_base
from lib.errors import UserError
from lib.settings import TrainConfig
from lib.tiny import ensure_tiny

TINY = "tiny"


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
    """("unsloth" | "peft", why). Raises UserError if the config insists on Unsloth and this machine cannot run it."""
    import torch

    has_gpu = torch.cuda.is_available()
    has_unsloth = importlib.util.find_spec("unsloth") is not None  # finds it without importing it: a broken one fails loudly later
    missing = " and ".join(
        what for what, there in (("no CUDA GPU", has_gpu), ("no package unsloth (make setup-runpod)", has_unsloth)) if not there
    )
    if config.backend == "peft":
        return "peft", "the config says so"
    if not missing:
        return "unsloth", "a CUDA GPU and the package unsloth are here" if config.backend == "auto" else "the config says so"
    if config.backend == "unsloth":
        raise UserError(f"backend: unsloth cannot run here: {missing}. Set backend: auto, or train on an NVIDIA machine (docs/runpod.md).")
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
    warnings.filterwarnings("ignore", module=r"(transformers|trl|peft|torch|bitsandbytes|accelerate|datasets)\b")


def device_of(config: TrainConfig) -> str:
    """cuda:<n>, mps or cpu. The tiny model stays on the CPU of a Mac, where it is faster."""
    import torch

    if torch.cuda.is_available():
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return "mps" if torch.backends.mps.is_available() and config.model != TINY else "cpu"


def precision_of(config: TrainConfig, device: str) -> str:
    """nf4 | bf16 | fp32: how the base model's weights are held."""
    if config.quantization == "nf4":
        return "nf4"
    return "fp32" if config.model == TINY and not device.startswith("cuda") else "bf16"


def load_tokenizer(config: TrainConfig) -> Any:
    """The base model's own tokenizer. Raises UserError if the model cannot be had."""
    from transformers import AutoTokenizer

    with _missing_model(config):
        return AutoTokenizer.from_pretrained(source_of(config), revision=config.revision)


def load_shape(config: TrainConfig) -> Any:
    """The base model's config (layers, sizes), without its weights."""
    from transformers import AutoConfig

    with _missing_model(config):
        return AutoConfig.from_pretrained(source_of(config), revision=config.revision)


def source_of(config: TrainConfig) -> str:
    """Where the base model is loaded from: its name, or the folder in which `tiny` was built."""
    return str(ensure_tiny()) if config.model == TINY else config.model


@contextlib.contextmanager
def _missing_model(config: TrainConfig) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # how transformers says: unknown name, no network, no such revision, not a model's folder
        at = f" at revision {config.revision}" if config.revision else ""
        why = str(error).strip().split("\n")[0][:200]
        raise UserError(
            f"model: {config.model}{at} could not be loaded ({why}). Check the name and the network; "
            "for a private or gated model set HF_TOKEN in .env."
        ) from error


def load_model_for_training(config: TrainConfig, checkpointing: bool = False) -> tuple[Any, Any]:
    """(model with an adapter in fp32 on all targets, tokenizer): a fresh one, or for dpo and kto the init_adapter's weights.

    Nothing but the adapter is trainable, and that is checked.
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
    return model, tokenizer


def _peft(config: TrainConfig) -> tuple[Any, Any]:
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules=list(config.lora.target_modules),
        bias="none",
        use_rslora=False,
        use_dora=False,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(_base_model(config), lora), load_tokenizer(config)


def _unsloth(config: TrainConfig, checkpointing: bool) -> tuple[Any, Any]:
    import torch
    from unsloth import FastLanguageModel

    with _missing_model(config):
        model, tokenizer = FastLanguageModel.from_pretrained(
            model_name=source_of(config),
            revision=config.revision,
            use_exact_model_name=True,  # or it loads, and the adapter names, Unsloth's own copy of the model
            max_seq_length=config.max_length,
            dtype=torch.bfloat16,
            load_in_4bit=config.quantization == "nf4",
        )
    model = FastLanguageModel.get_peft_model(
        model,
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules=list(config.lora.target_modules),
        bias="none",
        use_gradient_checkpointing="unsloth" if checkpointing else False,
        random_state=config.seed,
        max_seq_length=config.max_length,
        use_rslora=False,
        loftq_config={},
    )
    return model, tokenizer


def _base_model(config: TrainConfig) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    device = device_of(config)
    precision = precision_of(config, device)
    options: dict[str, Any] = {"dtype": torch.float32 if precision == "fp32" else torch.bfloat16, "device_map": {"": device}}
    if precision == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16
        )
    if config.model == TINY and device == "cpu":
        torch.set_num_threads(1)  # see lib.tiny.one_thread
    with _missing_model(config):
        return AutoModelForCausalLM.from_pretrained(source_of(config), revision=config.revision, **options)


def load_for_inference(run_folder: Path, config: TrainConfig) -> Loaded:
    """The base model with the run's adapter, checked before any weight is loaded.

    Raises UserError if the run is not finished, its adapter is damaged or was trained on another base model.
    """
    prepare_libraries("peft")
    tokenizer = load_tokenizer(config)
    check_adapter(run_folder, config, load_shape(config))
    from peft import PeftModel

    model = PeftModel.from_pretrained(_base_model(config), str(run_folder)).eval().requires_grad_(False)
    device = device_of(config)
    return Loaded(model, tokenizer, "transformers", precision_of(config, device), device, config.model)


@contextlib.contextmanager
def answering(model: Any, checkpointing: bool = False) -> Iterator[None]:
    """The model being trained, for a moment as it answers: no dropout, no gradient, and the random numbers as they were.

    checkpointing: whether training uses gradient checkpointing, which Unsloth has to be told again.
    """
    import torch

    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        getattr(model, "for_inference", model.eval)()  # Unsloth has its own two switches
        try:
            yield
        finally:
            model.for_training(use_gradient_checkpointing=checkpointing) if hasattr(model, "for_training") else model.train()
