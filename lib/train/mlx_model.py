"""A base model with LoRA layers under MLX: loaded, quantized, asked, measured; its adapter kept as PEFT's.

PEFT's A and B are MLX's lora_a and lora_b transposed; alpha / rank is the scale of both.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lib.base.errors import UserError
from lib.base.files import read_json
from lib.base.settings import TrainConfig
from lib.model.adapters import ADAPTER_FILE, write_adapter_config
from lib.model.base_model import device_of, load_shape, missing_model, precision_of, source_of
from lib.model.losses import Row, RowLoss
from lib.model.shapes import with_rope_theta
from lib.train.distributed import n_processes

KINDS = ("qwen3", "llama")  # model_type of a base model's config.json; mlx-lm's others were never compared
GROUP, BITS = 64, 4  # of `mlx_lm.convert -q`: who serves the base that it makes has the base of the training
FILES = ("*.json", "model*.safetensors", "*.jinja", "*.txt")
MLP = ("gate_proj", "up_proj", "down_proj")
PREFIX, SIDES = "base_model.model.", {"lora_a": "lora_A.weight", "lora_b": "lora_B.weight"}


class MlxModel:
    """The base model and the adapter that is trained. Two modes: it learns (dropout), or it answers."""

    def __init__(self, config: TrainConfig, checkpointing: bool) -> None:
        """Raises UserError for a model that MLX, or its four bits, cannot take."""
        import mlx.core as mx
        from mlx_lm.tuner.utils import linear_to_lora_layers

        device = device_of(config)
        mx.set_default_device(mx.cpu if device == "cpu" else mx.gpu)
        self.config = config
        self.model, settings = _base_model(config, device)
        self.generation_config = SimpleNamespace(eos_token_id=settings.get("eos_token_id"))
        self.model.freeze()
        mx.random.seed(config.seed)  # the adapter's first weights are random
        lora = config.lora
        keys = {f"{'mlp' if name in MLP else 'self_attn'}.{name}" for name in lora.target_modules}
        settings = {"rank": lora.rank, "scale": lora.alpha / lora.rank, "dropout": lora.dropout}
        linear_to_lora_layers(self.model, len(self.model.layers), {**settings, "keys": keys})
        self.layers = [module for module in self.model.modules() if hasattr(module, "lora_a")]
        if len(self.layers) != len(keys) * len(self.model.layers):
            raise UserError(
                f"model: {config.model} has not every layer of lora.target_modules. Choose a model that is "
                "built like Qwen3 or Llama."
            )
        if checkpointing:
            _recompute(self.model.layers[0])
        self.model.train()

    def tensors(self) -> dict[str, Any]:
        """The adapter as PEFT names and arranges it, fp32."""
        import mlx.core as mx
        from mlx.utils import tree_flatten

        found = {}
        for name, values in tree_flatten(self.model.trainable_parameters()):
            module, _, side = name.rpartition(".")
            found[f"{PREFIX}{module}.{SIDES[side]}"] = mx.contiguous(values.T)
        return found

    def save(self, folder: Path) -> None:
        """Write the adapter into folder, as PEFT writes one."""
        import mlx.core as mx

        write_adapter_config(self.config, folder)
        mx.save_safetensors(str(folder / ADAPTER_FILE), self.tensors(), metadata={"format": "pt"})

    def fill(self, weights: Path) -> None:
        """Give the adapter the weights of a file. Raises RuntimeError unless it holds exactly its tensors."""
        import mlx.core as mx

        values, own = mx.load(str(weights)), self.tensors()
        if {name: one.shape for name, one in values.items()} != {
            name: one.shape for name, one in own.items()
        }:
            raise RuntimeError(f"{weights} does not fit the adapter")
        sides = {of_peft: side for side, of_peft in SIDES.items()}
        arranged = []
        for name, one in values.items():
            module, _, side = name.removeprefix(PREFIX).rpartition(".lora_")
            arranged.append((f"{module}.{sides['lora_' + side]}", mx.contiguous(one.T)))
        self.model.load_weights(arranged, strict=False)

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """The model for a moment as it answers: without dropout."""
        self.model.eval()
        try:
            yield
        finally:
            self.model.train()

    @contextlib.contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """The model for a moment as the base alone."""
        scales = [layer.scale for layer in self.layers]
        for layer in self.layers:
            layer.scale = 0.0
        try:
            yield
        finally:
            for layer, scale in zip(self.layers, scales, strict=True):
                layer.scale = scale

    def greedy(self, prompts: Sequence[Sequence[int]], ends: set[int], n_tokens: int) -> list[list[int]]:
        """The likeliest tokens after each prompt, up to an end token, which is left out."""
        from mlx_lm.generate import BatchGenerator

        writer = BatchGenerator(self.model, stop_tokens=[[token] for token in sorted(ends)])
        with self.answering(), contextlib.closing(writer):
            places = writer.insert([list(prompt) for prompt in prompts], [n_tokens] * len(prompts))
            written: dict[int, list[int]] = {place: [] for place in places}
            while answers := writer.next_generated():
                for answer in answers:
                    if answer.finish_reason != "stop":
                        written[answer.uid].append(answer.token)
        return [written[place] for place in places]

    def learned(self, rows: Sequence[Row]) -> tuple[Any, Any, Any]:
        """(nats, entropy, was it the likeliest) of every token that is not given, row after row.

        Logits are made of these tokens alone: those of the prompts would be most of the memory.
        """
        import mlx.core as mx

        width = max(len(ids) for ids, _ in rows)
        padded = mx.array([[*ids, *[0] * (width - len(ids))] for ids, _ in rows])
        spots = [(n, spot) for n, (ids, given) in enumerate(rows) for spot in range(max(given, 1), len(ids))]
        hidden = self.model.model(padded[:, :-1]).reshape(len(rows) * (width - 1), -1)
        hidden = hidden[mx.array([n * (width - 1) + spot - 1 for n, spot in spots])]
        tied = self.model.args.tie_word_embeddings
        logits = self.model.model.embed_tokens.as_linear(hidden) if tied else self.model.lm_head(hidden)
        logs = logits.astype(mx.float32)
        logs = logs - mx.logsumexp(logs, axis=-1, keepdims=True)
        targets = mx.array([rows[n][0][spot] for n, spot in spots])
        nats = -mx.take_along_axis(logs, targets[:, None], axis=-1)[:, 0]
        return nats, -(mx.exp(logs) * logs).sum(-1), mx.argmax(logs, axis=-1) == targets

    def row_losses(self, rows: Sequence[Row], places: Sequence[Sequence[int]]) -> dict[int, RowLoss]:
        """Place -> the loss of that row, as lib.model.losses has it. places: the batches."""
        found = {}
        with self.answering():
            for batch in places:
                nats, entropy, right = (
                    one.tolist() for one in self.learned([rows[place] for place in batch])
                )
                start = 0
                for place in batch:
                    n = len(rows[place][0]) - max(rows[place][1], 1)
                    part = slice(start, start + n)
                    found[place] = RowLoss(sum(nats[part]), n, sum(entropy[part]), sum(right[part]))
                    start += n
        return found


def _base_model(config: TrainConfig, device: str) -> tuple[Any, dict[str, Any]]:
    """(the base model, weights in bf16, fp32 or 4 bit; its config.json).

    One layer after another: no more memory is taken than the result and one layer in 16 bit.
    """
    import mlx.core as mx
    from mlx import nn
    from mlx_lm.utils import load_model

    folder = _folder(config)
    settings = with_rope_theta(read_json(folder / "config.json"))
    model, settings = load_model(folder, lazy=True, model_config=settings)
    precision = precision_of(config, device)
    # A CPU multiplies four-bit weights ten times faster in fp32.
    wide = precision == "fp32" or (precision == "nf4" and device == "cpu")
    model.set_dtype(mx.float32 if wide else mx.bfloat16)
    if precision == "nf4":
        nn.quantize(model, GROUP, BITS, class_predicate=_fits)
        whole = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
        if whole:
            raise UserError(
                f"quantization: nf4 did not take effect: {whole[0]} of {config.model} is no multiple of "
                f"{GROUP} wide. Set quantization: none."
            )
    for layer in model.layers:
        mx.eval(layer.parameters())
    mx.eval(model.parameters())
    return model, settings


def _fits(_: str, module: Any) -> bool:
    return hasattr(module, "to_quantized") and module.weight.shape[-1] % GROUP == 0


def refuse_what_mlx_lacks(config: TrainConfig) -> None:
    """Raise UserError for a model, or a launcher, that MLX cannot train with; no weights are downloaded."""
    if n_processes() > 1:
        raise UserError("backend: mlx trains in one process. Start it without a launcher: `make train`.")
    shape = load_shape(config)
    if shape.model_type not in KINDS:
        raise UserError(
            f"backend: mlx trains {' and '.join(KINDS)} models, and {config.model} is a {shape.model_type}. "
            "Choose another model, or train on a GPU (backend: auto)."
        )
    if getattr(shape, "quantization", None) or getattr(shape, "quantization_config", None):
        raise UserError(
            f"model: {config.model} holds quantized weights. Name the model in 16 bit: backend: mlx makes "
            "4 bits of them by itself, and the adapter fits other engines too."
        )


def _folder(config: TrainConfig) -> Path:
    source = source_of(config)
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    with missing_model(config):
        return Path(snapshot_download(source, revision=config.revision, allow_patterns=list(FILES)))


def _recompute(layer: Any) -> None:
    """Layers of this type keep only their inputs while they learn, and are computed again on the way back."""
    import mlx.core as mx

    kind, whole = type(layer), type(layer).__call__

    def call(module: Any, *inputs: Any, **options: Any) -> Any:
        if not module.training:
            return whole(module, *inputs, **options)

        def again(parameters: Any, *inputs: Any, **options: Any) -> Any:
            module.update(parameters)
            return whole(module, *inputs, **options)

        return mx.checkpoint(again)(module.trainable_parameters(), *inputs, **options)

    kind.__call__ = call
