"""The `judge:` keys of configs/eval-<name>.yaml: who judges, how often, under which budget."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lib.base.values import Strict, Usd


class PricesConfig(Strict):
    """USD per million tokens. cached_input: of tokens that the server read from its cache."""

    input: Usd
    output: Usd
    cached_input: Usd | None = None


# of a request, which the judge sets itself
OWN_KEYS = {"model", "messages", "max_tokens", "max_completion_tokens", "n", "stream", "response_format"}


class JudgeConfig(Strict):
    kind: Literal["claude", "openai", "offline"] = "claude"
    model: str = "claude-sonnet-5-5"
    orders: Literal["both", "one"] = "both"
    repeats: int = Field(1, ge=1, le=20)
    batch: Literal["auto", "always", "never"] = "auto"
    max_usd: Usd = 20
    effort: Literal["low", "medium", "high"] = "low"
    max_tokens: int = Field(4000, ge=256, le=20_000)
    # the rest belongs to kind: openai
    base_url: str | None = Field(None, pattern=r"^https?://[^\s/@?#]+(/[^\s@?#]*)?$")
    api_key_env: str | None = Field(None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    prices: PricesConfig | None = Field(None, description="none: a server of one's own, which is free")
    extra_body: dict[str, Any] = Field({}, description="more keys of every request")

    @model_validator(mode="after")
    def _fits_kind(self) -> Self:
        of_openai = {"base_url", "api_key_env", "prices", "extra_body"} & self.model_fields_set
        if self.kind != "openai" and of_openai:
            raise ValueError(f"{min(of_openai)} belongs to kind: openai, not to {self.kind}")
        if self.kind == "openai" and (missing := {"base_url", "model"} - self.model_fields_set):
            raise ValueError(f"kind: openai needs {min(missing)}")
        if taken := OWN_KEYS & self.extra_body.keys():
            raise ValueError(f"extra_body: {min(taken)} is set by the judge itself")
        return self
