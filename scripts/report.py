"""Statistics, the gate's verdict and the page, from replies and judgments.

python -m scripts.report --config configs/train-tiny.yaml --eval configs/eval-offline.yaml

Writes adapters/<run>/eval/<eval>/report.html, then report.json.
"""

from pathlib import Path

from lib.base.console import made, parser, printable, run
from lib.base.files import read_json, write_json, write_text
from lib.data.scorers import detect_languages, score_toxicity
from lib.evaluate.evaluation import Evaluation
from lib.evaluate.findings import Files, gather
from lib.evaluate.page import page
from lib.evaluate.reading import last_line, three_sentences, verdict_of
from lib.evaluate.second_judge import sentences, tell_the_others
from lib.model.flaws import flaws_of, people_beside
from lib.model.sanity import sanity


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--eval", type=Path, required=True, help="configs/eval-<name>.yaml")
    arguments.add_argument("--data", help="another data set than the run's")
    args = arguments.parse_args()
    evaluation = Evaluation.of(args.config, args.eval, args.data)
    files, folder = Files.read(evaluation), evaluation.folder
    data = read_json(evaluation.processed / "manifest.json")["config"]["filter"]
    toxicity = (
        None
        if data["toxicity_model"] == "none"
        else lambda texts: score_toxicity(texts, data["toxicity_model"])
    )
    prompts = list(files.prompts.values())
    flaws = flaws_of(
        [*files.replies, *people_beside(files.replies, prompts)],
        prompts,
        files.train,
        detect_languages,
        toxicity,
        data["language"],
        evaluation.eval.sampling.max_new_tokens,
    )
    metrics = sanity(files.replies, prompts, flaws, files.reply_manifest.leaks, data["language"])
    report, steps = gather(files, metrics, flaws)
    write_text(folder / "report.html", page(files, report, steps))
    write_json(folder / "report.json", report.as_written())
    told = tell_the_others(files, [judge.eval for judge in report.second_judges])
    print(f"report: {verdict_of(report, evaluation.config.model)}")
    for question, answer in three_sentences(report, evaluation.config.model):
        print(printable(f"  {question.rstrip('?')}: {answer}"))
    for row in report.gate.criteria:
        value = "–" if row.value is None else f"{row.value:.3f}"
        holds = "pass" if row.passed else "no"
        print(f"  {holds:<6}{row.label:<32}{value:>10}   threshold {row.threshold:.3g}")
    for sentence in sentences(report):
        print(printable(f"  {sentence}"))
    if told:
        print(f"  noted in the report of {', '.join(told)} as well")
    print(printable(last_line(report, evaluation.config.model)))
    made(folder / "report.html")


if __name__ == "__main__":
    run(main)
