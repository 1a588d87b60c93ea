"""The model card: what the adapter is, what was measured and what was not. It holds no text of the data.

What an older manifest or report does not say is said to be unknown, never guessed.
"""

from lib.base.settings import TrainConfig
from lib.evaluate.report import Report
from lib.model.chat import messages
from lib.publish.card_results import evaluation, is_stand_in, n_tweets, number, table, verdict
from lib.train.manifest import Manifest

TINY = "tiny"

LIMITS = """## Data and limits

Trained on replies that got likes, collected by the adapter's author. The data is not distributed, and no text
of it stands here. Likes reward what is quick, agreeable or sharp, which is not the same as true or kind. The
adapter may imitate the style of persons, repeat what it was trained on, be wrong, or be rude. It is not for
impersonation and not for automated replying. Not affiliated with X.

## Licence

Apache-2.0, as the base model's."""


def model_card(repo: str, config: TrainConfig, manifest: Manifest, report: Report | None) -> str:
    """README.md for the Hub: YAML metadata, then Markdown.

    The same inputs give the same text, to the byte.
    """
    sections = [_what(repo, config), evaluation(report), _training(config, manifest)]
    if config.model != TINY:  # nobody else has its base
        sections.append(_use(repo, config, config.revision or manifest.revision))
    sections.append(LIMITS)
    return f"---\n{_metadata(repo, config, report)}\n---\n\n" + "\n\n".join(sections) + "\n"


def _metadata(repo: str, config: TrainConfig, report: Report | None) -> str:
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
            "trl",
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
        ("base weights while training", "4-bit NF4" if config.quantization == "nf4" else "not quantised"),
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


def _use(repo: str, config: TrainConfig, commit: str | None) -> str:
    content = messages(config.prompt, "TWEET")[0]["content"]
    revision = f", revision={commit!r}" if commit else ""
    rank = max(16, config.lora.rank)
    return f"""## Use

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({repo!r})
base = AutoModelForCausalLM.from_pretrained({config.model!r}{revision}, dtype="bfloat16", device_map="auto")
model = PeftModel.from_pretrained(base, {repo!r})
chat = [{{"role": "user", "content": {content!r}.replace("TWEET", tweet)}}]
inputs = tokenizer.apply_chat_template(
    chat, add_generation_prompt=True, enable_thinking=False, return_dict=True, return_tensors="pt"
).to(model.device)
reply = model.generate(**inputs, max_new_tokens=120, do_sample=True, temperature=0.7, top_p=0.8, top_k=20)
print(tokenizer.decode(reply[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
```

Keep `enable_thinking=False`: the adapter was trained without thinking. vLLM serves it with
`vllm serve {config.model} --enable-lora --max-lora-rank {rank} --lora-modules tuned={repo}`."""
