"""A run on a Mac with Apple silicon, as the plan prints it: memory and minutes. Estimates, all of them."""

from lib.base.settings import TrainConfig
from lib.model.machine import MAC_SIZES, SHARED, uses_mlx
from lib.model.memory import vram_gb
from lib.model.shapes import Shape
from lib.train.needs import Tokens, longest_mean, work
from lib.train.sft import fitting

# Reports of people who trained 7 or 8 billion parameters in 4 bits: an M1 Max, 430 to 475 (mlx-examples#613);
# an M4 Pro and another Mac, 100 to 116 (unsloth#1289). Nobody has measured this project on a Mac.
TOKENS_PER_SECOND, PARAMETERS = (475, 100), 8e9
SHAKY_RATE = 1e-4  # granddiomande.com, a 7B model
SHAKY = """\
  learning_rate {rate:g}: on a Mac with 16 GB, in 4 bits, 2e-4 went to NaN for somebody and 5e-5 held. A run
  that does stops with a sentence, and its checkpoints stay"""
HEAD = """\
a Mac with Apple silicon, trained there by MLX for $0 (estimate: 100 to 475 tokens a second for 8 billion
parameters, as people report of an M4 Pro and an M1 Max; not measured with this project)"""


def mac(config: TrainConfig, shape: Shape, tokens: Tokens) -> str:
    """Which Macs can train the run, how and for how long; empty for a run that MLX does not train."""
    if not uses_mlx(config):
        return ""
    if config.quantization == "auto":
        # as lib.train.sft.quantization_of settles it
        config = config.model_copy(update={"quantization": "nf4"})
    lines = [HEAD, f"  {'GB':>5}{'for it':>9}{'needs':>8}{'fits':>9}{'training, min':>16}"]
    for size in MAC_SIZES:
        lines.append(f"  {size:>5}{SHARED * size:>9.1f}{_row(config, shape, tokens, SHARED * size)}")
    if config.quantization == "nf4" and config.learning_rate > SHAKY_RATE:
        lines.append(SHAKY.format(rate=config.learning_rate))
    return "\n".join(lines)


def _row(config: TrainConfig, shape: Shape, tokens: Tokens, usable_gb: float) -> str:
    """needs, fits and minutes of a Mac whose GPU may use that memory."""
    length, targets = longest_mean(tokens), tuple(config.lora.target_modules)
    size, again = fitting(config, config.effective_batch, round(length), usable_gb, shape, "mlx")
    nf4 = config.quantization == "nf4"
    needed = vram_gb(shape, size, length, config.lora.rank, targets, nf4, again, "mlx")
    if needed > usable_gb:
        return f"{needed:>8.1f}{'no':>9}"
    n_tokens, _ = work(config, tokens, size)
    per_second = [
        speed * PARAMETERS / (shape.linear_params + shape.head_params) for speed in TOKENS_PER_SECOND
    ]
    best, cautious = (n_tokens / speed / 60 for speed in per_second)
    mark = ", layers computed twice" if again else ""
    fits = f"{size} x {config.effective_batch // size}"
    return f"{needed:>8.1f}{fits:>9}{f'{best:.0f}–{cautious:.0f}':>16}{mark}"
