"""The keys and bounds of configs/*.yaml: one class per file. Why a value was chosen stands in the YAML."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from lib.base.gate_settings import GateConfig
from lib.base.judge_settings import JudgeConfig
from lib.base.values import Bounds, Name, Share, Strict, Usd

# --- configs/data-<set>.yaml -------------------------------------------------------------------------


class CollectConfig(Strict):
    source: Literal["apify", "twscrape", "files"] = "apify"
    queries: list[Annotated[str, Field(min_length=1)]] = []
    target_pairs: int = Field(1000, ge=1)
    min_pairs: int = Field(800, ge=1)
    max_pairs: int = Field(1200, ge=1)
    replies_per_tweet: int = Field(50, ge=1)
    tweets_per_query: int = Field(50, ge=1, description="tweets asked of one search")
    max_usd: Usd = 50
    actor: str = Field("apidojo/tweet-scraper", pattern=r"^[\w-]+/[\w.-]+$")
    run_minutes: int = Field(30, ge=1, description="time limit of one actor run")
    files: list[str] = Field([], description="item files that lie outside raw/; read in place, never copied")

    @model_validator(mode="before")
    @classmethod
    def _bounds_follow_target(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(target := values.get("target_pairs"), int):
            return {"min_pairs": min(800, target), "max_pairs": max(1200, target), **values}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.min_pairs <= self.target_pairs <= self.max_pairs:
            raise ValueError("min_pairs <= target_pairs <= max_pairs does not hold")
        if self.source != "files" and not self.queries:
            raise ValueError("queries: at least one is needed to search")
        return self


class FilterConfig(Strict):
    tweet_likes: Bounds = [200, 2000]
    tweet_retweets: Bounds = [10, 500]
    reply_likes: Bounds = [5, 1000]
    reply_author_followers: Bounds = [500, 100_000]
    reply_delay_seconds: Bounds = [300, 86_400]
    reply_chars: Bounds = [30, 280]
    language: str = Field("en", pattern=r"^[a-z]{2}(-[a-z]{2})?$")
    min_language_confidence: Share = 0.8
    max_toxicity: Share = 0.3
    toxicity_model: str = "original"
    max_hashtags: int = Field(2, ge=0)
    tweet_media: bool = Field(False, description="true keeps replies to a picture that the model never sees")
    tweet_url: bool = False
    max_replies_per_author: int | None = Field(10, ge=1, description="over the whole set; null: no cap")
    max_replies_per_tweet: int | None = Field(10, ge=1, description="over the whole set; null: no cap")
    promotion: Literal["reject", "review", "keep"] = "reject"
    filler: Literal["reject", "review", "keep"] = "review"


class CleanConfig(Strict):
    similarity_threshold: float = Field(0.9, gt=0, le=1)
    embedding_model: str = "sentence-transformers/all-MiniLM-L6-v2"


class SplitConfig(Strict):
    val: float = Field(0.1, gt=0, lt=1)
    test: float = Field(0.1, gt=0, lt=1)
    min_test_prompts: int = Field(200, ge=1)
    seed: int = 17

    @model_validator(mode="after")
    def _leaves_train(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError("val + test must leave something to train on (below 1)")
        return self


class PreferencesConfig(Strict):
    min_likes: int = Field(2, ge=0, description="both replies have at least this many likes")
    min_chosen_likes: int = Field(0, ge=0, description="and the chosen one at least this many")
    like_ratio: float = Field(2.0, gt=1, description="least likes of the chosen reply over the other's")
    max_per_tweet: int = Field(5, ge=1)
    max_follower_ratio: float = Field(3.0, ge=1, description="of the two authors' follower counts")


class DataConfig(Strict):
    collect: CollectConfig
    filter: FilterConfig = FilterConfig()
    clean: CleanConfig = CleanConfig()
    review: Literal["required", "optional"] = "required"
    split: SplitConfig = SplitConfig()
    preferences: PreferencesConfig = PreferencesConfig()


# --- configs/train-<run>.yaml ------------------------------------------------------------------------

Projection = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ALL_LINEAR: list[Projection] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class LoraConfig(Strict):
    rank: int = Field(16, ge=1, le=1024, description="r in Hu et al. 2021, arXiv:2106.09685")
    alpha: int = Field(16, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    target_modules: list[Projection] = Field(ALL_LINEAR, min_length=1)


class EarlyStoppingConfig(Strict):
    patience: int = Field(3, ge=1)
    threshold: float = Field(0.0, ge=0)
    watch: Literal["loss", "loss_and_diversity"] = Field(
        "loss", description="whether replies that have become one and the same count as a failure too"
    )


class RemoteConfig(Strict):
    gpus: list[Annotated[str, Field(min_length=1)]] = Field(
        ["A40", "RTX A6000", "L40S"], min_length=1, description="that may be rented"
    )
    max_usd: float = Field(3, gt=0, le=10_000, description="of one job, all machines that it took together")
    max_minutes: float = Field(
        90, ge=1, le=10_000, description="that one machine may live; it ends itself then"
    )


def _has_tweet(prompt: str) -> str:
    if prompt.count("{tweet}") != 1:
        raise ValueError("must contain {tweet} exactly once")
    return prompt


class TrainConfig(Strict):
    data: Name
    eval: Name = "claude"
    model: str = Field("Qwen/Qwen3-8B", min_length=1)
    revision: str | None = Field(None, description="commit of the base model on the Hub")
    backend: Literal["auto", "unsloth", "peft", "mlx"] = "auto"
    quantization: Literal["nf4", "none", "auto"] = Field(
        "nf4", description="auto: settled by the GPU that trains, lib.model.memory.quantization_on"
    )
    lora: LoraConfig = LoraConfig()
    method: Literal["sft", "dpo", "kto"] = "sft"
    init_adapter: Name | None = None
    prompt: Annotated[str, AfterValidator(_has_tweet)] = "Generate an engaging Twitter reply to:\n\n{tweet}"
    max_length: int = Field(1024, ge=16, description="tokens of prompt and reply together")
    epochs: float = Field(2, gt=0)
    learning_rate: float = Field(2e-4, gt=0, lt=1)
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    warmup: float = Field(0.03, ge=0, lt=1, description="share of the steps")
    weight_decay: float = Field(0.01, ge=0)
    effective_batch: int = Field(16, ge=1)
    micro_batch: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    gradient_checkpointing: Literal["auto"] | bool = "auto"
    evals_per_run: int = Field(10, ge=1)
    evals_after: float = Field(
        0.0, ge=0, lt=1, description="share of the steps before which only the base model is evaluated"
    )
    max_evaluation_share: float = Field(
        1.0, gt=0, le=1, description="of the time; below 1 an evaluation reads fewer validation rows"
    )
    early_stopping: EarlyStoppingConfig | None = EarlyStoppingConfig()
    keep_best: int = Field(3, ge=1)
    max_train_eval_gap: float = Field(0.3, gt=0)
    beta: float = Field(0.1, gt=0, description="dpo, kto: strength of the pull to the reference")
    min_preferences: int = Field(300, ge=1, description="dpo, kto: fewer pairs than this are refused")
    usd_per_hour: Usd = Field(0.5, description="price of the GPU, for the manifest and make plan")
    seed: int = Field(17, ge=0, lt=2**32)
    track: Literal["none", "wandb", "trackio", "tensorboard"] = "none"
    remote: RemoteConfig = RemoteConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if isinstance(self.micro_batch, int) and self.effective_batch % self.micro_batch:
            raise ValueError(
                f"micro_batch: {self.micro_batch} does not divide effective_batch {self.effective_batch}"
            )
        if (self.method == "sft") == (self.init_adapter is not None):
            raise ValueError(
                "init_adapter: dpo and kto start from an SFT run (init_adapter: <run>); sft starts from the "
                "base model"
            )
        if self.backend == "mlx" and self.method != "sft":
            raise ValueError(f"backend: mlx does not know method: {self.method}. Set backend: auto, on a GPU")
        return self


# --- configs/eval-<name>.yaml ------------------------------------------------------------------------


class ArmConfig(Strict):
    base_url: str = Field(pattern=r"^https?://")
    model: str = Field(min_length=1)
    api_key_env: str | None = Field(None, description="name of the environment variable that holds the key")
    extra_body: dict[str, Any] = {}
    quantization: str = "unknown"
    first_logprobs: list[float] = Field(
        [], description="as `make serve` saw them: another model at this address is noticed"
    )


class OpenAIEngine(Strict):
    openai: dict[Literal["base", "tuned"], ArmConfig]
    adapter_sha256: str | None = Field(None, description="of the run that `make serve` serves there")


class SamplingConfig(Strict):
    temperature: float = Field(0.7, ge=0, le=2)
    top_p: float = Field(0.8, gt=0, le=1)
    top_k: int = Field(20, ge=0)
    max_new_tokens: int = Field(120, ge=1, le=4096)
    seed: int = Field(17, ge=0, lt=2**32)


class FewshotConfig(Strict):
    k: int = Field(3, ge=1, le=50)


System = Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*|(base|tuned)@([2-9]|[1-9][0-9]))$")]


def _with_base_and_tuned(systems: list[str]) -> list[str]:
    if len(set(systems)) != len(systems) or not {"base", "tuned"} <= set(systems):
        raise ValueError("must name base and tuned, each system once")
    return systems


def _engine(value: Any) -> Any:
    return value if isinstance(value, dict | str) else str(value)


class EvalConfig(Strict):
    engine: Annotated[Literal["auto"] | OpenAIEngine, BeforeValidator(_engine)] = "auto"
    sampling: SamplingConfig = SamplingConfig()
    systems: Annotated[list[System], AfterValidator(_with_base_and_tuned)] = [
        "base",
        "fewshot",
        "tuned",
        "human",
    ]
    fewshot: FewshotConfig = FewshotConfig()
    judge: JudgeConfig = JudgeConfig()
    gate: GateConfig = GateConfig()
    max_prompts: int | None = Field(
        None, ge=1, description="judge only this many test prompts (chosen by hash)"
    )
    embedding_model: str | None = Field(
        None, description="for few-shot retrieval; default: the data set's own"
    )

    @model_validator(mode="after")
    def _candidates_differ(self) -> Self:
        best_of = [system for system in self.systems if "@" in system]
        if best_of and self.sampling.temperature == 0:
            raise ValueError(f"{best_of[0]} draws several candidates: sampling.temperature has to be above 0")
        return self
