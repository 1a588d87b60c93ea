"""Provider items for the tests: a tweet and replies that pass every filter, spoilt one field at a time."""

import contextlib
import importlib
import io
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lib.base.console import run
from lib.base.settings import FilterConfig, PreferencesConfig
from lib.data.filters import filter_pairs
from lib.data.pairs import join
from lib.data.raw import Row

SEEN = datetime(2026, 1, 1, tzinfo=UTC)
TWEET_ID, REPLY_ID = "1886675324152567949", "1886684680768013827"
GOOD_REPLY = "Half the world is waiting at home because nobody wrote the note."


def tweet_item(**changes):
    item = {
        "type": "tweet",
        "id": TWEET_ID,
        "text": "Put a note in the bakery: chess on Thursdays. There are fourteen of us now.",
        "likeCount": 600,
        "retweetCount": 40,
        "createdAt": "Tue Feb 04 07:00:00 +0000 2025",
        "lang": "en",
        "isReply": False,
        "conversationId": TWEET_ID,
        "author": {"userName": "baker", "followers": 9000},
    }
    return _changed(item, changes)


def reply_item(**changes):
    item = {
        "type": "tweet",
        "id": REPLY_ID,
        "text": f"@baker {GOOD_REPLY}",
        "likeCount": 30,
        "retweetCount": 1,
        "createdAt": "Tue Feb 04 08:00:00 +0000 2025",
        "lang": "en",
        "isReply": True,
        "inReplyToId": TWEET_ID,
        "conversationId": TWEET_ID,
        "author": {"userName": "reader", "followers": 800},
    }
    return _changed(item, changes)


def _changed(item, changes):
    """changes of value ... remove the key."""
    return {key: value for key, value in {**item, **changes}.items() if value is not ...}


def rows_of(*items):
    return [Row(f"items.jsonl:{number}", SEEN, item) for number, item in enumerate(items, 1)]


def joined_of(*items):
    return join(rows_of(*items))


def english(texts):
    """A detector that takes every text with letters for English, unless they are Arabic or have an umlaut."""
    return [("", 0.0) if not any(c.isalpha() for c in text) else (_language(text), 0.99) for text in texts]


def _language(text):
    return "ar" if any("\u0600" <= c <= "\u06ff" for c in text) else "de" if "ä" in text else "en"


def filtered_of(pairs, detect=english, toxicity=None, preferences=None, **bounds):
    return filter_pairs(pairs, FilterConfig(**bounds), preferences or PreferencesConfig(), detect, toxicity)


def outcome(*items, **bounds):
    """What becomes of the last item, all the way through the filter: "kept", or the reason."""
    joined = joined_of(*items)
    last = f"items.jsonl:{len(items)}"
    for rejection in joined.rejected:
        if rejection.pair.get("source") == last:
            return rejection.reason
    result = filtered_of([pair for pair in joined.pairs if pair.source == last], **bounds)
    return "kept" if result.kept else result.rejected[0].reason


def pairs_of(n=1, **changes):
    """n pairs to one tweet, as the pairing makes them; changes go to the replies."""
    replies = [reply_item(id=str(10**18 + number), **changes) for number in range(n)]
    return joined_of(tweet_item(), *replies).pairs


def write_items(folder: Path, items, name="items.jsonl"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def stage(folder, name, config="configs/data-x.yaml", *more):
    """Run scripts.<name> in folder, in this process: a UserError becomes exit code 1 and its sentence, as on
    the command line.
    """
    out, err, argv = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = [name, "--config", config, *more]
    try:
        with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            run(importlib.import_module(f"scripts.{name}").main)
    except SystemExit as end:
        return Done(end.code, out.getvalue(), err.getvalue())
    finally:
        sys.argv = argv


def all_stages(folder, config="configs/data-x.yaml"):
    done = [stage(folder, name, config) for name in ("pair", "filter", "clean", "split")]
    assert [one.returncode for one in done] == [0] * 4, "".join(one.stderr for one in done)
    return done
