"""A model's tokenizer from the files on this machine, without importing transformers (which takes longer than the whole plan)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.files import read_json
from lib.settings import TrainConfig

FILES = ("tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True)
class LocalTokenizer:
    """encoder: tokenizers.Tokenizer. The token names are None where the files name none."""

    encoder: Any
    template: str
    eos_token: str | None
    pad_token: str | None

    def count(self, text: str) -> int:
        """Tokens in text; control tokens count as one each."""
        return len(self.encoder.encode(text, add_special_tokens=False).ids)

    def render(self, messages: list[dict[str, str]], **kwargs: Any) -> str:
        """The chat template filled in, as transformers does it: sandboxed, because a template is code from the Hub."""
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
        return environment.from_string(self.template).render(messages=messages, **kwargs)


def local_tokenizer(config: TrainConfig) -> LocalTokenizer | None:
    """The tokenizer of the config's model if it is on this machine, else None. `tiny` is not built for it."""
    folder = _folder(config)
    if folder is None or not all((folder / name).is_file() for name in FILES):
        return None
    from tokenizers import Tokenizer

    settings = read_json(folder / "tokenizer_config.json")
    template = folder / "chat_template.jinja"
    return LocalTokenizer(
        Tokenizer.from_file(str(folder / "tokenizer.json")),
        template.read_text(encoding="utf-8") if template.is_file() else settings.get("chat_template") or "",
        _token(settings.get("eos_token")),
        _token(settings.get("pad_token")),
    )


def _folder(config: TrainConfig) -> Path | None:
    if config.model == "tiny":
        from lib.tiny import tiny_hash

        return Path("data/cache") / f"tiny-{tiny_hash()[:16]}"
    if Path(config.model).is_dir():
        return Path(config.model)
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(config.model, name, revision=config.revision) for name in FILES]
    return Path(found[0]).parent if all(isinstance(path, str) for path in found) else None


def _token(value: Any) -> str | None:
    """tokenizer_config.json holds a token as a string or as a description of it."""
    return value.get("content") if isinstance(value, dict) else value
