"""People asked: the page written for them, their answers taken in, and what is said of both."""

from collections.abc import Sequence
from pathlib import Path

from lib.base.console import counted, printable
from lib.base.errors import UserError
from lib.evaluate.evaluation import Evaluation, training
from lib.evaluate.people_page import Item, make_items, write_files
from lib.evaluate.people_report import take_in

MAX_SHOWN = 20  # lines that do not count, by name


def written(evaluation: Evaluation, limit: int | None) -> tuple[list[Item], str]:
    """(the comparisons to ask about, what was written), once the files for raters are there.

    Raises UserError where there are no replies yet.
    """
    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit}: ask about one tweet or more.")
    if not (evaluation.folder / "replies.jsonl").is_file():
        training(evaluation.run_folder)  # or else that comes first
        raise UserError(
            f"{evaluation.folder} holds no replies yet: run `make replies RUN={named(evaluation)}` first."
        )
    items = make_items(evaluation, limit)
    human = write_files(evaluation, items)
    said = [
        f"human-eval: {counted(len(items), 'tweet')}, each with two replies in an order drawn by hash",
        f"wrote {human / 'page.html'}  (send it to raters)",
        f"wrote {human / 'items.csv'}  (for crowd platforms)",
        f"wrote {human / 'key.json'}  (which reply is whose: keep it here)",
    ]
    return items, "\n".join(said)


def taken_in(evaluation: Evaluation, files: Sequence[Path]) -> tuple[str, str]:
    """(what stands now, what does not count of it), once the answers are in human/report.json."""
    human = evaluation.folder / "human"
    found, report = take_in(evaluation, files)
    n_bad = len(found.rejected)
    said = (
        f"human-eval: {found.n_new:,} new answers, {found.n_known:,} known ones, {n_bad:,} rejected\n"
        f"  {report['sentence']}\nwrote {human / 'report.json'}"
    )
    if not n_bad:
        return printable(f"{said}\nnext: make eval RUN={named(evaluation)}      puts it into report.html"), ""
    reasons = [row["reason"] for row in found.rejected[:MAX_SHOWN]]
    kept = f"{n_bad:,} of the lines do not count. They are kept in {human / 'rejected.jsonl'}; mend and "
    return printable(said), "\n".join([*reasons, f"{kept}import them."])


def named(evaluation: Evaluation) -> str:
    """The run, and EVAL=... where it is not the run's own."""
    name = evaluation.folder.name
    return evaluation.run + ("" if name == evaluation.config.eval else f" EVAL={name}")
