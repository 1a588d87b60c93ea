"""The base model's weights on this machine: where they are, how large, and how they come here."""

from collections.abc import Callable
from pathlib import Path

from lib.base.errors import UserError
from lib.base.files import read_json
from lib.base.settings import TrainConfig
from lib.model.base_model import TINY, missing_model, source_of

INDEX = "model.safetensors.index.json"
WANTED = ["*.safetensors", "*.json", "*.jinja"]


def weights_here(config: TrainConfig) -> Path | None:
    """The folder that holds all weights of the base model, or None: nothing is downloaded."""
    if config.model == TINY or Path(config.model).is_dir():
        folder = Path(source_of(config))
    else:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(config.model, "config.json", revision=config.revision)
        if not isinstance(found, str):
            return None
        folder = Path(found).parent
    return folder if all(path.is_file() for path in weight_files(folder)) else None


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make up the model in folder, whether or not they are there."""
    if not (folder / INDEX).is_file():
        return [folder / "model.safetensors"]
    index = read_json(folder / INDEX)
    names = (
        sorted(set(index["weight_map"].values())) if isinstance(index, dict) and "weight_map" in index else []
    )
    if not names or any(Path(name).name != name for name in names):
        raise UserError(f"{folder / INDEX} names no files of weights. Download the base model again.")
    return [folder / name for name in names]


def n_bytes(folder: Path) -> int:
    """Size of all weights in folder."""
    return sum(path.stat().st_size for path in weight_files(folder))


def fetch_weights(config: TrainConfig, confirm: Callable[[str], None]) -> Path:
    """The folder of all weights, downloaded if confirm(question) lets it: it says what and how large."""
    here = weights_here(config)
    if here is not None:
        return here
    if Path(config.model).is_dir():
        raise UserError(f"{config.model} holds no whole model in safetensors files. Copy it again.")
    from huggingface_hub import HfApi, constants, snapshot_download

    with missing_model(config):
        files = HfApi().model_info(config.model, revision=config.revision, files_metadata=True).siblings or []
    size = sum(file.size or 0 for file in files if file.rfilename.endswith(".safetensors"))
    confirm(
        f"Merging needs the base model's own weights: download {config.model} ({size / 1e9:.1f} GB) "
        f"from {constants.ENDPOINT}?"
    )
    with missing_model(config):
        return Path(snapshot_download(config.model, revision=config.revision, allow_patterns=WANTED))
