"""The model card: what the adapter is, what was measured and what was not. It holds no text of the data.

What an older manifest or report does not say is said to be unknown, never guessed.
"""

from lib.base.settings import TrainConfig
from lib.evaluate.measures import Accuracy, Calibration, Position
from lib.evaluate.report import Report
from lib.model.chat import messages
from lib.train.manifest import Manifest

TINY = "tiny"

STAND_IN = (
    "**The judge was an offline stand-in**: a small ranker fitted on the likes of the training replies, no "
    "language model and no person. These numbers show that the pipeline runs. They are no evidence that the "
    "replies are better."
)

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
    sections = [_what(repo, config), _evaluation(report), _training(config, manifest)]
    if config.model != TINY:  # nobody else has its base
        sections.append(_use(repo, config, config.revision or manifest.revision))
    sections.append(LIMITS)
    return f"---\n{_metadata(repo, config, report)}\n---\n\n" + "\n\n".join(sections) + "\n"


def is_stand_in(report: Report) -> bool:
    """True if the judge was no language model, so that its numbers are no evidence."""
    return report.judge.kind != "claude"


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
                metric_name=f"win rate against the base model, {_n(report)} tweets, "
                f"verdict: {_verdict(report)}",
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


def _evaluation(report: Report | None) -> str:
    if report is None:
        return "## Evaluation\n\n**Not evaluated.** Nothing is claimed about the quality of the replies."
    lines = ["## Evaluation", f"Verdict of the gate: **{_verdict(report)}**."]
    if is_stand_in(report):
        lines.append(STAND_IN)
    if _verdict(report) == "underpowered":
        lines.append("Underpowered: too few tweets to tell. It is neither a success nor a failure.")
    lines.append(_table(("tuned against base, on held-out tweets", "value"), _numbers(report)))
    if report.gate.criteria:
        rows = [
            (f"`{c.name}`", _number(c.value), _number(c.threshold), "yes" if c.passed else "no")
            for c in report.gate.criteria
        ]
        lines.append(_table(("criterion of the gate", "value", "threshold", "met"), rows))
    return "\n\n".join(lines)


def _numbers(report: Report) -> list[tuple[str, str]]:
    judge, smallest = report.judge, report.headline.mde if report.headline else {}
    return [
        ("tweets", _n(report)),
        (
            "net win, points (wins - losses) / tweets, 95% interval",
            f"{_number(report.net_win)} {_interval(report.ci95)}",
        ),
        ("win rate, a tie counts half", _number(report.win_rate)),
        ("Wilcoxon signed rank, p", _number(report.wilcoxon_p, 3)),
        ("Mann-Whitney U, p", _number(report.mannwhitney_p, 3)),
        ("Cohen's d", _number(report.cohens_d)),
        ("smallest d these tweets show with power 0.8", _number(report.mde)),
        ("smallest net win these tweets show with power 0.8, points", _number(smallest.get("net_win"))),
        (
            "judge",
            f"{'offline stand-in' if is_stand_in(report) else 'Claude'}, `{judge.model or 'unnamed'}`",
        ),
        ("judge's accuracy on real engagement", _calibration(judge.calibration)),
        ("judge's position bias", _position(judge.position_bias)),
    ]


def _position(bias: Position | None) -> str:
    if bias is None or bias.first_chosen is None:
        return "not measured"
    return f"chose the reply shown first in {_number(bias.first_chosen)} of the decided comparisons"


def _calibration(calibration: Calibration | None) -> str:
    if calibration is None or calibration.accuracy is None:
        return "not measured"
    n_pairs = "an unknown number of" if calibration.n is None else calibration.n
    known = f"{_number(calibration.accuracy)} {_interval(calibration.ci95)} on {n_pairs} pairs"
    if calibration.status:
        known += f" ({calibration.status})"
    baselines = [_baseline(name, found) for name, found in calibration.baselines.items()]
    return known + ("; baselines: " + ", ".join(baselines) if baselines else "")


def _baseline(name: str, found: Accuracy | None) -> str:
    return f"{name.replace('_', ' ')} {_number(found.accuracy if found else None)}"


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
            f"{_number(manifest.train_loss, 3)} / {_number(manifest.eval_loss, 3)}",
        ),
        ("validation perplexity", _number(manifest.perplexity)),
        ("seed", str(config.seed)),
    ]
    return "## Training\n\n" + _table(("setting", "value"), rows)


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


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(str(cell).replace("|", "/").split()) for cell in line) + " |"
        for line in lines
    )


def _n(report: Report) -> str:
    return "an unknown number of" if report.n_prompts is None else f"{report.n_prompts:,}"


def _verdict(report: Report) -> str:
    return report.gate.verdict or "none"


def _number(value: float | None, digits: int = 2) -> str:
    if value is None:
        return "not measured"
    smallest = 10**-digits
    return f"< {smallest:g}" if digits > 2 and 0 <= value < smallest else f"{value:.{digits}f}"


def _interval(bounds: tuple[float, float] | None) -> str:
    return f"[{bounds[0]:.2f}, {bounds[1]:.2f}]" if bounds else ""
