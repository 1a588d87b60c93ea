"""A sitting of the review: the pairs of a set that wait, and what stands when it ends.

The terminal and the page begin and end with it.
"""

from collections.abc import Callable
from pathlib import Path

from lib.base.config import config_name, load_config
from lib.base.console import counted, summary
from lib.base.errors import UserError
from lib.base.files import lock, read_jsonl
from lib.base.schema import Pair
from lib.base.seals import checked
from lib.base.settings import DataConfig
from lib.data.review import Review

Ask = Callable[[Review, str], None]  # the review and the set's name; returns when the person leaves


def sitting(path: Path, ask: Ask) -> str:
    """The decisions so far and the next command, once the person has left; one sitting at a time.

    path: configs/data-<set>.yaml. Raises UserError where there is nothing to review yet.
    """
    config, name = load_config(path, DataConfig), config_name(path)
    folder = Path("data") / name
    clean = folder / "interim" / "clean.jsonl"
    if not clean.is_file():
        raise UserError(f"{folder} holds nothing to review yet: run `make data DATA={name}` first.")
    with lock(folder / "review" / "lock"):
        pairs, decisions = read_jsonl(checked(clean), Pair), folder / "review" / "decisions.jsonl"
        review = Review(pairs, config.filter, decisions)
        if review.current is None:
            all_done = f"review: nothing to review, all {len(pairs):,} pairs of {name} are decided"
            return f"{all_done}\n{_ended(review, name)}"
        ask(review, name)
        return _ended(review, name)


def _ended(review: Review, name: str) -> str:
    progress, lines = review.progress(), []
    if progress.n:
        lines.append(summary("review", progress.kept + progress.edited, review.reasons().elements()))
    if progress.edited:
        lines.append(f"  {progress.edited:,} of the kept replies were edited")
    left = progress.n_total - progress.n
    if left:
        lines.append(f"{'  ' if lines else 'review: '}{counted(left, 'pair')} left")
    return "\n".join([*lines, f"next: make {'review' if left else 'data'} DATA={name}"])
