"""An adapter as mlx-lm loads it: `mlx_lm.generate --adapter-path`."""

from pathlib import Path

from lib.base.files import write_json
from lib.export.lora import Lora


def write_mlx(lora: Lora, folder: Path, dtype: str) -> None:
    """adapters.safetensors and adapter_config.json. dtype: f16 | f32.

    MLX computes x @ a @ b, so both are transposed; its scale is alpha / rank itself (mlx-lm refuses `alpha`).
    """
    import numpy as np
    from safetensors.numpy import save_file

    tensors = {}
    for module, (a, b) in lora.matrices(dtype).items():
        tensors[f"{module}.lora_a"] = np.ascontiguousarray(a.T)
        tensors[f"{module}.lora_b"] = np.ascontiguousarray(b.T)
    save_file(tensors, folder / "adapters.safetensors", metadata={"format": "mlx"})
    keys = sorted({module.partition(".layers.")[2].partition(".")[2] for module in lora.modules})
    parameters = {"rank": lora.rank, "scale": lora.scale, "dropout": 0.0, "keys": keys}
    config = {
        "fine_tune_type": "lora",
        "num_layers": lora.shape.num_hidden_layers,
        "lora_parameters": parameters,
    }
    write_json(folder / "adapter_config.json", config)
