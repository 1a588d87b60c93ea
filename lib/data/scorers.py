"""Models that judge a text: its language, its toxicity.

Each loads inside the function that needs it.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib.base.characters import mostly_capitals
from lib.base.errors import UserError
from lib.base.parallel import map_texts

TOXICITY_MODELS = ("original", "unbiased", "multilingual", "original-small", "unbiased-small")
TOXICITY_WAY_OUT = (
    "Set `toxicity_model: none` to leave toxicity out, or to the path of a local Detoxify checkpoint."
)
BATCH = 32


def detect_languages(texts: Sequence[str], processes: int | None = None) -> list[tuple[str, float]]:
    """The most probable language (ISO 639-1, zh-cn, zh-tw) of each text and its probability, or ("", 0.0).

    Sees the text as it is: mentions, links and hashtags mislead it on short texts, so take them off first.
    processes: None takes what the machine has for large sets. The result does not depend on it.
    """
    return map_texts(detect_language, texts, processes)


def detect_language(text: str) -> tuple[str, float]:
    """One text's most probable language and its probability: see detect_languages."""
    from langdetect import DetectorFactory, LangDetectException, detect_langs

    # Without a seed langdetect gives a short post another language on the next run.
    DetectorFactory.seed = 0
    # To langdetect English in capitals is German (github.com/Mimino666/langdetect/issues/74).
    try:
        best = detect_langs(text.lower() if mostly_capitals(text) else text)[0]
    except LangDetectException:  # no letters
        return "", 0.0
    return best.lang, min(best.prob, 1.0)


def score_toxicity(texts: Sequence[str], model: str) -> list[float]:
    """Detoxify's `toxicity` output for each text, in [0, 1].

    model: a Detoxify variant, downloaded once, or the path of a local checkpoint in Detoxify's format.
    Raises UserError where the model is unknown, missing, unsafe to load, or cannot be downloaded.
    """
    if not texts:
        return []
    detoxify = _toxicity_model(model)
    scores = [math.nan] * len(texts)
    by_length = sorted(
        range(len(texts)), key=lambda i: len(texts[i])
    )  # a batch is padded to its longest text
    for start in range(0, len(texts), BATCH):
        batch = by_length[start : start + BATCH]
        output = detoxify.predict([encodable(texts[i]) for i in batch])["toxicity"]
        for i, score in zip(batch, output if isinstance(output, list) else [output], strict=True):
            scores[i] = score
    return scores


def _toxicity_model(model: str) -> Any:
    if model not in TOXICITY_MODELS and not Path(model).is_file():
        known = ", ".join(TOXICITY_MODELS)
        raise UserError(
            f"toxicity_model: {model} is neither a Detoxify model ({known}) nor a file. {TOXICITY_WAY_OUT}"
        )
    from detoxify import Detoxify

    try:
        detoxify = (
            Detoxify(model, device=torch_device())
            if model in TOXICITY_MODELS
            else _local_detoxify(Path(model))
        )
    except (
        OSError,
        ValueError,
    ) as error:  # no network, no disk, a base model that is neither local nor on the Hub
        raise UserError(
            f"toxicity_model: {model} could not be loaded: {first_line(error)}. {TOXICITY_WAY_OUT}"
        ) from error
    if "toxicity" not in detoxify.class_names:
        raise UserError(
            f"toxicity_model: {model} has no `toxicity` output, only {', '.join(detoxify.class_names)}. "
            f"{TOXICITY_WAY_OUT}"
        )
    # A local tokenizer may know no limit; a text longer than the model's positions would end in an index
    # error.
    positions = getattr(detoxify.model.config, "max_position_embeddings", 512)
    detoxify.tokenizer.model_max_length = min(detoxify.tokenizer.model_max_length, max(positions - 2, 1))
    return detoxify


def _local_detoxify(path: Path) -> Any:
    """A local checkpoint.

    Detoxify unpickles whatever it holds, code too: so torch first has to read the file without running any.
    """
    import pickle

    import torch
    from detoxify import Detoxify

    with path.open("rb") as handle:
        try:
            checkpoint = torch.load(handle, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
            raise UserError(
                f"toxicity_model: {path} was refused: it is not a checkpoint of weights only, and loading it "
                "could run code. "
                f"{TOXICITY_WAY_OUT}"
            ) from error
        try:
            arch, classes = (
                checkpoint["config"]["arch"]["args"],
                checkpoint["config"]["dataset"]["args"]["classes"],
            )
            complete = (
                {"model_type", "model_name", "tokenizer_name", "num_classes"} <= set(arch)
                and classes
                and checkpoint["state_dict"]
            )
        except (KeyError, TypeError):
            complete = False
        if not complete:
            raise UserError(
                f"toxicity_model: {path} is not in Detoxify's format (config and state_dict). "
                f"{TOXICITY_WAY_OUT}"
            )
        handle.seek(0)
        return Detoxify(checkpoint=handle, device=torch_device())


def torch_device() -> str:
    """The fastest device of this machine: cuda, mps or cpu."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def encodable(text: str) -> str:
    """The text without lone surrogates, on which tokenizers stop."""
    return text.encode("utf-8", "replace").decode("utf-8")


def first_line(error: Exception) -> str:
    """An error in one line, as the middle of a sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
