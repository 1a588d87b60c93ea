"""A model's tokenizer from the files on this machine, without importing transformers (which takes longer than the whole plan)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.files import read_json
from lib.base.settings import TrainConfig
from lib.base.text_files import read_text

FILES = ("tokenizer.json", "tokenizer_config.json")
MAX_TEMPLATE_BYTES = 1_000_000
OLDER = "special_tokens_map.json"  # where tokenizers saved before transformers 5 may name their tokens


@dataclass(frozen=True)
class LocalTokenizer:
    """What lib.train.rows asks of a transformers tokenizer. encoder: tokenizers.Tokenizer. A token is None where the files name none."""

    encoder: Any
    template: Any  # jinja2.Template
    eos_token: str | None
    pad_token: str | None

    def __call__(self, text: str, add_special_tokens: bool = False) -> dict[str, list[int]]:
        return {"input_ids": self.encoder.encode(text, add_special_tokens=add_special_tokens).ids}

    def apply_chat_template(
        self, messages: list[dict[str, str]], tokenize: bool = False, **kwargs: Any
    ) -> str:
        """The chat as text."""
        return self.template.render(
            messages=messages, eos_token=self.eos_token, pad_token=self.pad_token, **kwargs
        )

    def convert_tokens_to_ids(self, token: str | None) -> int | None:
        return None if token is None else self.encoder.token_to_id(token)

    @property
    def eos_token_id(self) -> int | None:
        return self.convert_tokens_to_ids(self.eos_token)


def _compiled(template: str) -> Any:
    """A chat template as transformers compiles it: sandboxed, because it is code from the Hub."""
    from jinja2.exceptions import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    environment.globals["raise_exception"] = raise_exception
    return environment.from_string(template)


def local_tokenizer(config: TrainConfig) -> LocalTokenizer | None:
    """The tokenizer of the config's model if it is on this machine, else None. `tiny` is not built for it."""
    folder = _folder(config)
    if folder is None or not all((folder / name).is_file() for name in FILES):
        return None
    from tokenizers import Tokenizer

    settings = read_json(folder / "tokenizer_config.json")
    file = folder / "chat_template.jinja"
    template = read_text(file, MAX_TEMPLATE_BYTES) if file.is_file() else settings.get("chat_template")
    if not isinstance(template, str):  # a base model without a chat, or one with several
        return None
    older = read_json(folder / OLDER) if (folder / OLDER).is_file() else {}
    eos, pad = (_token(settings.get(name) or older.get(name)) for name in ("eos_token", "pad_token"))
    return LocalTokenizer(Tokenizer.from_file(str(folder / "tokenizer.json")), _compiled(template), eos, pad)


def _folder(config: TrainConfig) -> Path | None:
    if config.model == "tiny":
        from lib.model.tiny import tiny_hash

        return Path("data/cache") / f"tiny-{tiny_hash()[:16]}"
    if Path(config.model).is_dir():
        return Path(config.model)
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(config.model, name, revision=config.revision) for name in FILES]
    return Path(found[0]).parent if all(isinstance(path, str) for path in found) else None


def _token(value: Any) -> str | None:
    """tokenizer_config.json holds a token as a string or as a description of it."""
    return value.get("content") if isinstance(value, dict) else value
