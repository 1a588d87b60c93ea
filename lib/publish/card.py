"""The model card: what the adapter is, what was measured and what was not. It holds no text of the data."""

from typing import Any

from lib.base.settings import TrainConfig
from lib.model.chat import messages

TINY = "tiny"
Report = dict[str, Any]  # report.json; absent numbers are said to be absent, never guessed

STAND_IN = (
    "**The judge was an offline stand-in**: a small ranker fitted on the likes of the training replies, no language model and no person. "
    "These numbers show that the pipeline runs. They are no evidence that the replies are better."
)

LIMITS = """## Data and limits

Trained on replies that got likes, collected by the adapter's author. The data is not distributed, and no text of it stands here.
Likes reward what is quick, agreeable or sharp, which is not the same as true or kind. The adapter may imitate the style of persons, repeat
what it was trained on, be wrong, or be rude. It is not for impersonation and not for automated replying. Not affiliated with X.

## Licence

Apache-2.0, as the base model's."""


def model_card(repo: str, config: TrainConfig, manifest: dict[str, Any], report: Report | None) -> str:
    """README.md for the Hub: YAML metadata, then Markdown. The same inputs give the same text, to the byte."""
    sections = [_what(repo, config), _evaluation(report), _training(config, manifest)]
    if config.model != TINY:  # nobody else has its base
        sections.append(_use(repo, config, config.revision or manifest.get("revision")))
    sections.append(LIMITS)
    return f"---\n{_metadata(repo, config, report)}\n---\n\n" + "\n\n".join(sections) + "\n"


def is_stand_in(report: Report) -> bool:
    return (report.get("judge") or {}).get("kind") != "claude"


def _metadata(repo: str, config: TrainConfig, report: Report | None) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    results = None
    if report and not is_stand_in(report) and isinstance(report.get("win_rate"), int | float):
        results = [
            EvalResult(
                task_type="text-generation",
                dataset_type="private",
                dataset_name="held-out tweets",
                metric_type="win_rate",
                metric_name=f"win rate against the base model, {_n(report)} tweets, verdict: {_verdict(report)}",
                metric_value=round(report["win_rate"], 4),
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
        f"# {repo.partition('/')[2]}\n\nA LoRA adapter for `{config.model}` that replies to posts on X (Twitter). "
        "It is not a model of its own: it needs the base model's weights."
    )
    if config.model == TINY:
        text += (
            "\n\n**A test artefact.** Its base model is built on the spot by the pipeline's quickstart and exists nowhere else. "
            "It shows that every step works; it does not write good replies."
        )
    return text


def _evaluation(report: Report | None) -> str:
    if report is None:
        return "## Evaluation\n\n**Not evaluated.** Nothing is claimed about the quality of the replies."
    lines = ["## Evaluation", f"Verdict of the gate: **{_verdict(report)}**."]
    if is_stand_in(report):
        lines.append(STAND_IN)
    if _verdict(report) == "underpowered":
        lines.append("Underpowered: too few tweets to tell. It is neither a success nor a failure.")
    lines.append(_table(("tuned against base, on held-out tweets", "value"), _numbers(report)))
    criteria = (report.get("gate") or {}).get("criteria") or []
    if criteria:
        rows = [
            (f"`{c.get('name')}`", _number(c.get("value")), _number(c.get("threshold")), _yes(c.get("pass")))
            for c in criteria
        ]
        lines.append(_table(("criterion of the gate", "value", "threshold", "met"), rows))
    return "\n\n".join(lines)


def _numbers(report: Report) -> list[tuple[str, str]]:
    judge, mde = report.get("judge") or {}, report.get("mde")
    smallest = (
        mde if isinstance(mde, dict) else {**((report.get("headline") or {}).get("mde") or {}), "d": mde}
    )
    return [
        ("tweets", _n(report)),
        (
            "net win, points (wins - losses) / tweets, 95% interval",
            f"{_number(report.get('net_win'))} {_interval(report.get('ci95'))}",
        ),
        ("win rate, a tie counts half", _number(report.get("win_rate"))),
        ("Wilcoxon signed rank, p", _number(report.get("wilcoxon_p"), 3)),
        ("Mann-Whitney U, p", _number(report.get("mannwhitney_p"), 3)),
        ("Cohen's d", _number(report.get("cohens_d"))),
        ("smallest d these tweets show with power 0.8", _number(smallest.get("d"))),
        ("smallest net win these tweets show with power 0.8, points", _number(smallest.get("net_win"))),
        (
            "judge",
            f"{'offline stand-in' if is_stand_in(report) else 'Claude'}, `{judge.get('model') or 'unnamed'}`",
        ),
        ("judge's accuracy on real engagement", _calibration(judge.get("calibration"))),
        ("judge's position bias", _position(judge.get("position_bias"))),
    ]


def _position(bias: Any) -> str:
    if not isinstance(bias, dict) or "first_chosen" not in bias:
        return _first_number(bias)
    if bias["first_chosen"] is None:
        return "not measured"
    return f"chose the reply shown first in {_number(bias['first_chosen'])} of the decided comparisons"


def _calibration(calibration: Any) -> str:
    if not isinstance(calibration, dict) or calibration.get("accuracy") is None:
        return "not measured"
    known = f"{_number(calibration['accuracy'])} {_interval(calibration.get('ci95'))} on {calibration.get('n', 'an unknown number of')} pairs"
    if calibration.get("status"):
        known += f" ({calibration['status']})"
    baselines = calibration.get("baselines")
    if isinstance(baselines, dict) and baselines:
        known += "; baselines: " + ", ".join(
            f"{str(name).replace('_', ' ')} {_first_number(value)}" for name, value in baselines.items()
        )
    return known


def _training(config: TrainConfig, manifest: dict[str, Any]) -> str:
    lora = config.lora
    rows = [
        (
            "method",
            f"{config.method}, LoRA rank {lora.rank}, alpha {lora.alpha}, dropout {lora.dropout} on {', '.join(lora.target_modules)}",
        ),
        ("base weights while training", "4-bit NF4" if config.quantization == "nf4" else "not quantised"),
        (
            "pairs (train / validation)",
            f"{manifest.get('n_train', 'unknown')} / {manifest.get('n_val', 'unknown')}",
        ),
        (
            "learning rate, schedule, epochs, batch",
            f"{config.learning_rate:g}, {config.scheduler}, {config.epochs:g}, {config.effective_batch}",
        ),
        (
            "train / validation loss",
            f"{_number(manifest.get('train_loss'), 3)} / {_number(manifest.get('eval_loss'), 3)}",
        ),
        ("validation perplexity", _number(manifest.get("perplexity"))),
        ("seed", str(config.seed)),
    ]
    return "## Training\n\n" + _table(("setting", "value"), rows)


def _use(repo: str, config: TrainConfig, commit: str | None) -> str:
    content = messages(config.prompt, "TWEET")[0]["content"]
    revision = f", revision={commit!r}" if commit else ""
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
`vllm serve {config.model} --enable-lora --max-lora-rank {max(16, config.lora.rank)} --lora-modules tuned={repo}`."""


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(str(cell).replace("|", "/").split()) for cell in line) + " |"
        for line in lines
    )


def _n(report: Report) -> str:
    n = report.get("n_prompts")
    return f"{n:,}" if isinstance(n, int) else "an unknown number of"


def _verdict(report: Report) -> str:
    return str((report.get("gate") or {}).get("verdict") or "none")


def _number(value: Any, digits: int = 2) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "not measured"
    smallest = 10**-digits
    return f"< {smallest:g}" if digits > 2 and 0 <= value < smallest else f"{value:.{digits}f}"


def _first_number(value: Any) -> str:
    """A number, or the first one of a record such as {rate, ci95, n}."""
    if isinstance(value, dict):
        value = next(
            (
                inner
                for inner in value.values()
                if isinstance(inner, int | float) and not isinstance(inner, bool)
            ),
            None,
        )
    return _number(value)


def _yes(flag: Any) -> str:
    return "yes" if flag else "no"


def _interval(bounds: Any) -> str:
    if (
        isinstance(bounds, list | tuple)
        and len(bounds) == 2
        and all(isinstance(bound, int | float) for bound in bounds)
    ):
        return f"[{bounds[0]:.2f}, {bounds[1]:.2f}]"
    return ""
