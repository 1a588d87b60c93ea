"""The real Unsloth on a machine without a GPU: `python -m tests.unsloth_cpu --config
configs/train-<run>.yaml` is scripts.train under it.

Unsloth's own loader, adapter, rewritten TRL trainers, collator, LoRA and loss run as they are. Replaced is
only what needs CUDA: its questions about the device, and its Triton and CUDA kernels (RMS norm, rotary
embedding, SwiGLU, NF4), each by the same formula in torch.
"""

import os
import sys
import types
import warnings
from pathlib import Path
from typing import Any

SITE = Path(__file__).parent.parent / ".venv" / "unsloth-cpu"  # tests/unsloth-cpu.txt, put there by .ci/run


def pretend_device() -> None:
    """Answer what Unsloth asks about the GPU while it is imported and loads a model; what it places there
    goes to the CPU.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    properties = types.SimpleNamespace(
        name="CPU", total_memory=24 * 10**9, major=9, minor=0, multi_processor_count=1, gcnArchName=""
    )
    torch.cuda.get_device_properties = lambda *_: properties
    torch.cuda.get_device_capability = lambda *_: (9, 0)
    torch.cuda.get_device_name = lambda *_: properties.name
    torch.cuda.mem_get_info = lambda *_: (properties.total_memory, properties.total_memory)
    torch.cuda.device_count = lambda: 1
    torch.cuda.current_device = lambda: "cpu"
    torch._C._cuda_getCurrentRawStream = lambda _: 0

    def on_cpu(value: Any) -> Any:
        if isinstance(value, str):
            return "cpu" if value.split(":")[0] == "cuda" else value
        return torch.device("cpu") if isinstance(value, torch.device) and value.type == "cuda" else value

    class OnCpu(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return function(
                *map(on_cpu, args), **{name: on_cpu(value) for name, value in (kwargs or {}).items()}
            )

    OnCpu().__enter__()


def import_unsloth() -> None:
    """As on a GPU: with UNSLOTH_ALLOW_CPU alone Unsloth would leave TRL's trainers as they are."""
    os.environ["UNSLOTH_ALLOW_CPU"] = "1"
    import unsloth

    del os.environ["UNSLOTH_ALLOW_CPU"]
    from unsloth.context_parallel import patch_sft_trainer
    from unsloth.models.rl import PatchFastRL
    from unsloth.trainer import _patch_trl_trainer

    PatchFastRL(FastLanguageModel=unsloth.FastLanguageModel)
    _patch_trl_trainer()
    patch_sft_trainer()


def rms_layernorm(layernorm: Any, x: Any, *_: Any, **__: Any) -> Any:
    import torch

    eps = layernorm.variance_epsilon if hasattr(layernorm, "variance_epsilon") else layernorm.eps
    wide = x.float()
    return layernorm.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)


def rope_embedding(q: Any, k: Any, cos: Any, sin: Any, positions: Any = None) -> tuple[Any, Any]:
    """q, k: (batch, heads, tokens, width). positions: (batch, tokens); None: in order."""
    import torch

    cos, sin = (
        table.squeeze()[: q.shape[2]] if positions is None else table.squeeze()[positions].unsqueeze(1)
        for table in (cos, sin)
    )
    if cos.shape[-1] < q.shape[-1]:
        cos, sin = torch.cat((cos, cos), -1), torch.cat((sin, sin), -1)
    cos, sin = (
        cos.to(q.dtype),
        sin.to(q.dtype),
    )  # no copy: a table made in inference mode has to fail, as in Unsloth's traced kernels

    def rotated(x: Any) -> Any:
        half = x.shape[-1] // 2
        return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin

    return rotated(q), rotated(k)


def swiglu(gate: Any, up: Any) -> Any:
    import torch

    return torch.nn.functional.silu(gate.float()).to(up.dtype) * up


def swiglu_backward(grad: Any, gate: Any, up: Any) -> tuple[Any, Any, Any]:
    """(h, df, de) in the memory of the three arguments, as Unsloth's kernel leaves them."""
    import torch

    wide = gate.float()
    sigmoid = torch.sigmoid(wide)
    silu = (sigmoid * wide).to(grad.dtype)
    h, df, dg = silu * up, grad * silu, grad * up
    de = (dg.float() * sigmoid * (1 + wide * (1 - sigmoid))).to(grad.dtype)
    return grad.copy_(h), gate.copy_(df), up.copy_(de)


def dequantize(
    weight: Any, state: Any = None, out: Any = None, use_global_buffer: bool = False, dtype: Any = None
) -> Any:
    """The weight of a 4-bit layer, (out, in), or (in, out) where the packed weight comes transposed; any
    other as it is.

    dtype: what Unsloth wants of an FP8 weight; a 4-bit one has its own.
    """
    from bitsandbytes.functional import dequantize_4bit

    if state is None:
        return weight
    transposed = weight.shape[0] == 1
    full = dequantize_4bit(weight.t() if transposed else weight, state)
    return full.t() if transposed else full


def gemv(x: Any, weight: Any, state: Any, out: Any = None) -> Any:
    result = x @ dequantize(weight, state).t()
    return result if out is None else out.copy_(result)


def ensure_rope_cache(self: Any, _: Any) -> int:
    """Unsloth keeps one table per device index, which a CPU has not."""
    import torch

    if self._rope_cache_stale(self.multi_gpu_cos_cached[0], 0):
        size = self.current_rope_size
        self._set_cos_sin_cache(
            seq_len=self._rope_cache_rows(), device=torch.device("cpu:0"), dtype=self._rope_cache_dtype
        )
        self.current_rope_size = size
        self._rope_cache_versions[0] = self._rope_cache_version
        self._rope_rows_ready[0] = self.multi_gpu_cos_cached[0].shape[0]
    return 0


def replace_kernels(bitsandbytes: bool) -> None:
    import torch
    import unsloth.models.llama

    torch.cuda.is_bf16_supported = lambda *_, **__: True
    replaced = {
        "fast_rms_layernorm": rms_layernorm,
        "fast_rope_embedding": rope_embedding,
        "swiglu_fg_kernel": swiglu,
        "swiglu_DWf_DW_dfg_kernel": swiglu_backward,
        "fast_dequantize": dequantize,
        "fast_gemv": gemv,
        "_USE_NF4_KERNELS": False,
        "ALLOW_BITSANDBYTES": bitsandbytes,
        "SUPPORTS_BFLOAT16": True,
        "is_bfloat16_supported": lambda: True,
        "prepare_device_map": lambda: ({"": "cpu"}, int(os.environ.get("WORLD_SIZE", "1")) > 1),
    }
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in ("unsloth", "unsloth_zoo") and module is not None:
            for attribute in replaced.keys() & vars(module).keys():
                setattr(module, attribute, replaced[attribute])
    unsloth.models.llama._PerDeviceRopeCache._ensure_rope_cache = ensure_rope_cache


def main() -> None:
    sys.path.insert(0, str(SITE))
    warnings.filterwarnings("ignore")
    os.environ["UNSLOTH_DISABLE_STATISTICS"] = "1"
    pretend_device()
    import_unsloth()
    replace_kernels(bitsandbytes="--without-bitsandbytes" not in sys.argv)
    sys.argv = [argument for argument in sys.argv if argument != "--without-bitsandbytes"]
    import lib.model.loading
    import lib.train.run
    import scripts.train
    from lib.base.console import run

    lib.model.loading.resolve_backend = lib.train.run.resolve_backend = lambda config: (
        "unsloth",
        "on a CPU, for this test",
    )
    run(scripts.train.main)


if __name__ == "__main__":
    main()
