"""The blind vote: what one browser tab may vote on, and the file that keeps the votes.

Whose reply is whose stays in this process.
"""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from lib.base.files import append_line
from lib.evaluate.people_answers import Vote, import_votes
from lib.evaluate.people_page import BALLOT
from lib.evidence.intervals import wilson

Side = Literal["base", "tuned"]
Choice = Literal["left", "right", "tie", "both_bad"]
SIDES: dict[str, Choice] = {"A": "left", "B": "right", "tie": "tie", "both_bad": "both_bad"}
CHOICES: dict[str, tuple[Choice, str]] = {  # key on the keyboard -> what is kept, what the button says
    key: (SIDES[answer], said) for key, (answer, said) in BALLOT.items()
}
# Not while somebody types, not with Ctrl or Cmd, not again while a key is held down.
# A disabled button ignores click().
# A page that shows one pair after the other is read out.
KEYS_JS = """() => {
document.getElementById('page')?.setAttribute('aria-live', 'polite');
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
  if (event.target.closest('textarea, input:not([type=checkbox]), [contenteditable=true]')) return;
  const key = event.key.toLowerCase();
  const wanted = /^[120b]$/.test(key) ? `#vote-${key}, #key-${key}` : {n: '#next', a: '#again'}[key];
  const button = wanted && document.querySelector(wanted);
  if (button && button.offsetParent) { event.preventDefault(); button.click(); }
}, true);
}"""
# Enter in the tweet's box sends it; without leaving the box the vote's keys would be typed into it.
LEAVE_BOX_JS = "() => { if (document.querySelector('#blind input:checked')) document.activeElement?.blur(); }"


@dataclass(frozen=True)
class Round:
    """Two whole replies to a tweet, shown without names. left: whose stands on the left."""

    tweet: str
    base: str
    tuned: str
    left: Side
    seed: int

    def name(self, where: Choice) -> Side:
        """Whose reply stands there: "left" or "right"."""
        return self.left if where == "left" else "base" if self.left == "tuned" else "tuned"


@dataclass
class Session:
    """One browser tab. seen: the pairs of replies whose names it knows, so that no vote on them is blind.

    end: what the reply in progress has been asked to do. Ours and not Gradio's `cancels`, which lets go of a
    reply in its first moments without an answer: the page would go on saying "Writing". at: the last of the
    held-out tweets that this tab was shown. drafts: what it has seen the tuned model write besides. history:
    every pair that was written here, blind ones too.
    """

    round: Round | None = None
    seen: set[tuple[str, str]] = field(default_factory=set)
    end: Literal["", "stop", "clear"] = ""
    is_writing: bool = False
    at: int = -1
    drafts: set[str] = field(default_factory=set)
    history: list[Round] = field(default_factory=list)


@dataclass(frozen=True)
class Votes:
    """The votes on one adapter, in path: a line of lib.evaluate.people_answers.Vote each.

    Nothing in them says who voted.
    """

    path: Path
    run: str
    adapter_sha256: str

    def add(self, shown: Round, choice: Choice) -> None:
        """Keep one vote for good. Raises UserError or OSError where it cannot be written."""
        texts = {
            "tweet": shown.tweet,
            "base": shown.base,
            "tuned": shown.tuned,
            "left": shown.left,
            "seed": shown.seed,
        }
        at = datetime.now(UTC).replace(microsecond=0)
        append_line(
            self.path, Vote(**texts, choice=choice, at=at, run=self.run, adapter_sha256=self.adapter_sha256)
        )

    def tally(self) -> str:
        """How this adapter stands, in one sentence.

        Raises UserError naming file:line for a line that is no vote.
        """
        own = {"run": self.run, "adapter_sha256": self.adapter_sha256}
        verdicts = [
            vote.verdict or 0.0 for vote in import_votes(self.path) if own.items() <= vote.usage.items()
        ]
        n, n_tuned, n_base = (
            len(verdicts),
            sum(verdict > 0 for verdict in verdicts),
            sum(verdict < 0 for verdict in verdicts),
        )
        wins = (
            n_tuned + (n - n_tuned - n_base) / 2
        )  # as the evaluation counts: a vote for neither is half a win
        low, high = wilson(wins, n)
        return (
            f"{n:,} vote{'' if n == 1 else 's'} on this run: tuned {n_tuned:,}, base {n_base:,}, neither "
            f"{n - n_tuned - n_base:,}. "
            f"Win rate of tuned {100 * wins / max(1, n):.0f} % (95 % interval {100 * low:.0f} to "
            f"{100 * high:.0f} %)."
        )


def drawn_side() -> Side:
    """Whose reply goes to the left, by the operating system's randomness: the sampling's seed does not give
    it away.
    """
    return "tuned" if secrets.randbelow(2) else "base"
