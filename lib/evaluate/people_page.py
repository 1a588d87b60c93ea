"""Blind comparisons for people: which pairs they see, on which side, and the files that can be handed out.

human/page.html is one file that needs no server; items.csv is for crowd platforms. Neither says which system
wrote what: that stands in key.json alone, which stays here.
"""

import base64
import csv
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.base.characters import visible
from lib.base.errors import UserError
from lib.base.files import content_hash, read_json, write_json, write_text
from lib.base.html import render
from lib.evaluate.evaluation import Evaluation, adapter_sha256

A, B = "tuned", "base"
BALLOT = {  # key on the keyboard -> the answer as it is kept, what the button says: on every page that asks
    "1": ("A", "A is better"),
    "2": ("B", "B is better"),
    "0": ("tie", "Tie"),
    "b": ("both_bad", "Both bad"),
}
FORMULA = tuple(
    "=+-@\t\r＝＋－＠"
)  # what a spreadsheet may run; the last four are the wide forms of the first


@dataclass(frozen=True)
class Item:
    """A tweet with its two replies, left and right. id: of these texts, whatever else an evaluation holds."""

    id: str
    tweet_id: str
    tweet: str
    replies: dict[str, str]  # system -> reply
    left: str  # the system shown as A

    @property
    def right(self) -> str:
        return B if self.left == A else A

    @property
    def shown(self) -> dict[str, str]:
        """The item as a rater may see it: no system, no tweet id."""
        return {
            "item": self.id,
            "tweet": visible(self.tweet),
            "reply_a": visible(self.replies[self.left]),
            "reply_b": visible(self.replies[self.right]),
        }


def make_items(evaluation: Evaluation, limit: int | None = None) -> list[Item]:
    """Every tweet that both systems answered, or `limit` of them, sides and sequence drawn by hash.

    The draw also hashes the adapter, which no page names: a page and this file do not give the sides away.
    The same files give the same items again. Tweets with an empty or missing reply are left out: an empty box
    tells a rater which side failed, not which is better, and the judge leaves them out too. Raises UserError
    if nothing is left.
    """
    replies = {(reply.tweet_id, reply.system): reply.reply for reply in evaluation.replies()}
    secret = adapter_sha256(evaluation.run_folder)
    items = []
    for prompt in evaluation.prompts():
        texts = {system: replies.get((prompt.tweet_id, system), "") for system in (A, B)}
        if not all(visible(text).strip() for text in texts.values()):
            continue
        # Sorted: an id that knew which reply is whose could be tried out both ways.
        # A letter first: a spreadsheet takes 12e4... for a number and rounds it.
        number = "i" + content_hash(["item", prompt.tweet_id, prompt.tweet, sorted(texts.values())])[:15]
        left = A if int(content_hash(["side", secret, number])[:8], 16) % 2 else B
        items.append(Item(number, prompt.tweet_id, prompt.tweet, texts, left))
    if not items:
        raise UserError(
            f"{evaluation.folder / 'replies.jsonl'} has no tweet that base and tuned both answered. Run the "
            "generate step again."
        )
    return sorted(items, key=lambda item: content_hash(["sequence", secret, item.id]))[:limit]


def write_files(evaluation: Evaluation, items: Sequence[Item]) -> Path:
    """page.html, items.csv and key.json in <eval>/human/; returns the folder.

    Items of earlier pages stay in the key.
    """
    folder = evaluation.folder / "human"
    page_id = content_hash([item.id for item in items])[:12]
    write_json(
        folder / "key.json",
        key_of(evaluation, items, read_key(folder) if (folder / "key.json").is_file() else {}),
    )
    write_text(folder / "items.csv", items_csv(items))
    write_text(folder / "page.html", page(items, page_id))
    return folder


def key_of(evaluation: Evaluation, items: Sequence[Item], earlier: dict[str, Item]) -> dict[str, Any]:
    """key.json: the sides of these items, and of those of earlier pages."""
    return {
        "run": evaluation.run,
        "eval": evaluation.folder.name,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "items": {name: asdict(item) for name, item in (earlier | {item.id: item for item in items}).items()},
    }


def read_key(folder: Path) -> dict[str, Item]:
    """item id -> item. Raises UserError where no page was made, or the key was edited."""
    path = folder / "key.json"
    if not path.is_file():
        raise UserError(f"{path} does not exist: no page was made here. Run `make human-eval` first.")
    try:
        return {name: Item(**values) for name, values in read_json(path)["items"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: not the key of a human evaluation ({error}). Run `make human-eval` again."
        ) from error


def page(items: Sequence[Item], page_id: str) -> str:
    """The page as one HTML file: its own script and nothing else may run, nothing may be fetched or sent."""
    from markupsafe import Markup

    script = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    data = json.dumps({"page": page_id, "items": [item.shown for item in items]}, ensure_ascii=True)
    for character in "<>&":  # as JSON escapes: no text of a tweet can end the element or start another
        data = data.replace(character, f"\\u{ord(character):04x}")
    return render(
        "human.html",
        title="Which reply is better?",
        n_items=len(items),
        ballot=BALLOT,
        data=Markup(data),
        script=Markup(script),
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def items_csv(items: Sequence[Item]) -> str:
    """item, tweet, reply_a, reply_b: one row per item, for crowd platforms and spreadsheets."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, ["item", "tweet", "reply_a", "reply_b"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: cell(text) for name, text in item.shown.items()} for item in items)
    return buffer.getvalue()


def cell(text: str) -> str:
    """text as a spreadsheet shows it: a leading apostrophe where it would otherwise be a formula."""
    return "'" + text if text.startswith(FORMULA) else text
