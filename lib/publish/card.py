"""The model card: what the adapter is, what was measured and what was not. It holds no text of the data.

What an older manifest or report does not say is said to be unknown, never guessed.
"""

from lib.base.settings import SamplingConfig, TrainConfig
from lib.evaluate.report import Report
from lib.model.chat import messages
from lib.publish.card_results import evaluation, is_stand_in, n_tweets, number, table, verdict
from lib.train.manifest import Manifest

TINY = "tiny"

SAMPLE = "sample"  # the project's own data set, which nobody but the project wrote
DATA_STAYS = """The texts are not published: none stands here, in the weights' file or in any other file of
this repository. No adapter forgets a single example: whoever deletes a post asks the publisher to train again
without it, or to take this down."""

TERMS = """## May this be published?

**An open question, which whoever publishes this answers for themselves.** X's Developer Agreement
(III.A(k), read in November 2026) bars using the X API or X content to fine-tune or train a foundation or
frontier model. Whether a small adapter over a model of somebody else is one, whether the clause binds those
who got the posts by another way than the X API, and whether the weights may be passed on, is not settled, and
this card claims nothing about it. Read the terms before you use or pass on what stands here."""

LIMITS = """## Limits

Likes reward what is quick, agreeable or sharp, which is not the same as true or kind. The adapter may imitate
the style of persons, repeat what it was trained on, be wrong, or be rude. What it writes are drafts for a
person to read, choose and post: it is not for automated replying, and not for impersonation. Not affiliated
with X."""

LICENCE = """## Licence

Apache-2.0, as the base model's. It covers the numbers published here, not the posts that they were learned
from."""


def model_card(
    repo: str,
    config: TrainConfig,
    manifest: Manifest,
    report: Report | None,
    sampling: SamplingConfig | None = None,
    engines: str = "",
    objection: str = "",
) -> str:
    """README.md for the Hub: YAML metadata, then Markdown. The same inputs give the same text, to the byte.

    sampling: what the replies were evaluated with. engines: commands for other engines than transformers.
    objection: the sentence that FORCE=1 has overridden.
    """
    sections = [_what(repo, config)]
    if objection:
        sections.append(
            f"> **Published without the evidence that this pipeline asks for** (`FORCE=1`). {objection} "
            "Expect no more of it than of the base model."
        )
    sections += [evaluation(report), _training(config, manifest), _data(config, manifest), TERMS]
    if config.model != TINY:  # nobody else has its base
        revision = config.revision or manifest.revision
        sections.append(_use(repo, config, revision, sampling or SamplingConfig()))
        sections += [engines] if engines else []
    sections += [LIMITS, LICENCE]
    return f"---\n{_metadata(repo, config, manifest, report)}\n---\n\n" + "\n\n".join(sections) + "\n"


def _metadata(repo: str, config: TrainConfig, manifest: Manifest, report: Report | None) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    results = None
    if report and not is_stand_in(report) and report.win_rate is not None:
        results = [
            EvalResult(
                task_type="text-generation",
                dataset_type="private",
                dataset_name="held-out tweets",
                metric_type="win_rate",
                metric_name=f"win rate against the base model, {n_tweets(report)} tweets, "
                f"verdict: {verdict(report)}",
                metric_value=round(report.win_rate, 4),
            )
        ]
    return ModelCardData(
        base_model=config.model,
        base_model_relation="adapter",
        library_name="peft",
        license="apache-2.0",
        pipeline_tag="text-generation",
        language="en",
        model_name=repo.partition("/")[2],
        tags=[
            "lora",
            "qlora" if config.quantization == "nf4" else "peft",
            "mlx" if manifest.backend == "mlx" else "trl",
            f"base_model:adapter:{config.model}",
        ],
        eval_results=results,
    ).to_yaml()


def _what(repo: str, config: TrainConfig) -> str:
    text = (
        f"# {repo.partition('/')[2]}\n\nA LoRA adapter for `{config.model}` that replies to posts on X "
        "(Twitter). It is not a model of its own: it needs the base model's weights."
    )
    if config.model == TINY:
        text += (
            "\n\n**A test artefact.** Its base model is built on the spot by the pipeline's quickstart and "
            "exists nowhere else. It shows that every step works; it does not write good replies."
        )
    return text


def _training(config: TrainConfig, manifest: Manifest) -> str:
    lora = config.lora
    rows = [
        (
            "method",
            (
                f"{config.method}, LoRA rank {lora.rank}, alpha {lora.alpha}, dropout {lora.dropout} on "
                f"{', '.join(lora.target_modules)}"
            ),
        ),
        ("base weights while training", _held(config, manifest)),
        (
            "pairs (train / validation)",
            " / ".join("unknown" if n is None else str(n) for n in (manifest.n_train, manifest.n_val)),
        ),
        (
            "learning rate, schedule, epochs, batch",
            f"{config.learning_rate:g}, {config.scheduler}, {config.epochs:g}, {config.effective_batch}",
        ),
        (
            "train / validation loss",
            f"{number(manifest.train_loss, 3)} / {number(manifest.eval_loss, 3)}",
        ),
        ("validation perplexity", number(manifest.perplexity)),
        ("seed", str(config.seed)),
    ]
    return "## Training\n\n" + table(("setting", "value"), rows)


def _held(config: TrainConfig, manifest: Manifest) -> str:
    if config.quantization != "nf4":
        return "not quantised"
    return "4-bit, as MLX has it (affine, groups of 64)" if manifest.backend == "mlx" else "4-bit NF4"


def _data(config: TrainConfig, manifest: Manifest) -> str:
    """The training data: what they were, and how much of them comes out again."""
    n_train, n_val = (
        "an unknown number of" if n is None else f"{n:,}" for n in (manifest.n_train, manifest.n_val)
    )
    if (manifest.config.get("data") or config.data) == SAMPLE:  # not what DATA= names today
        pairs = "invented posts and replies, the bundled sample of the pipeline"
    else:
        pairs = (
            "public posts on X (Twitter), each with a reply to it that got likes, collected by the publisher"
        )
    lines = [
        f"Trained on {n_train} pairs of {pairs}. {n_val} more chose the best step and were not trained on; "
        "the posts of the evaluation are of other authors than both.",
    ]
    if (found := manifest.memorisation) and found.tuned is not None and found.base is not None:
        lines.append(
            f"Of {found.n} replies to validation posts, {found.tuned:.1%} repeat {found.words} or more words "
            f"of a training reply (without the adapter: {found.base:.1%})."
        )
    return "## Training data\n\n" + "\n\n".join([*lines, DATA_STAYS])


def _use(repo: str, config: TrainConfig, commit: str | None, sampling: SamplingConfig) -> str:
    content = messages(config.prompt, "TWEET")[0]["content"]
    revision = f", revision={commit!r}" if commit else ""
    chosen = f"max_new_tokens={sampling.max_new_tokens}, do_sample={sampling.temperature > 0}"
    if sampling.temperature > 0:
        names = ("temperature", "top_p", "top_k")
        chosen += "".join(f", {name}={getattr(sampling, name)!r}" for name in names)
    return f"""## Use

Thinking has to be off: the adapter was trained without it.

**transformers and PEFT**

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

tweet = "..."
tokenizer = AutoTokenizer.from_pretrained({repo!r})
base = AutoModelForCausalLM.from_pretrained({config.model!r}{revision}, dtype="bfloat16", device_map="auto")
model = PeftModel.from_pretrained(base, {repo!r})
chat = [{{"role": "user", "content": {content!r}.replace("TWEET", tweet)}}]
inputs = tokenizer.apply_chat_template(
    chat, add_generation_prompt=True, enable_thinking=False, return_dict=True, return_tensors="pt"
).to(model.device)
reply = model.generate(**inputs, {chosen})
print(tokenizer.decode(reply[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
```"""
