"""Remove a tweet, a reply or an author from every file, and never collect it again.

Shows what would go, and asks.

python -m scripts.forget --id 1712345678901234567
python -m scripts.forget --handle somebody

YES=1 answers the question.
"""

import contextlib
from pathlib import Path

from lib.base.console import confirm, counted, parser, printable, run
from lib.base.files import lock
from lib.data.forget import Outcome, forget, preview, target_of
from lib.data.interim import building_lock
from lib.evaluate.standing import next_line


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--id", help="of a tweet or a reply")
    arguments.add_argument("--handle", help="of an author, with or without @")
    arguments.add_argument("--config", type=Path, help="configs/train-<run>.yaml, for the next command")
    args = arguments.parse_args()
    target = target_of(args.id or None, args.handle or None)
    with contextlib.ExitStack() as held:
        held.enter_context(lock(Path("data/forget.lock")))
        for interim in sorted(Path("data").glob("*/interim")):  # what is being built was read before
            held.enter_context(lock(building_lock(interim.parent)))
        expected = preview(Path(), target)
        print(listing(target.name, expected), flush=True)
        confirm(f"Forget {target.name} for good?", "Nothing was removed.")
        outcome = forget(Path(), target)
    gone = f"is gone from {n_files(outcome)}" if outcome.removed or outcome.deleted else "is on the list"
    print(f"forget: {target.name} {gone} and will never be collected again")
    if seen_by := ", ".join(outcome.trained_on_it):
        print(
            f"  traces stay in the weights of {seen_by}: withdraw what you published of them, or train anew"
        )
    sets = sorted({name.split("/")[1] for name in outcome.removed if name.startswith("data/")})
    for name in sets:
        print(f"next: make data DATA={name}")
    if args.config and not sets:
        print(next_line(args.config))


def listing(name: str, expected: Outcome) -> str:
    """The preview: lines, rows or fields per file, pages that go as a whole, adapters that have seen it."""
    if not expected.removed and not expected.deleted:
        return f"forget: {name} is in no file here; it would go on the list of what is never collected."
    lines = [f"forget: {name} would go from {n_files(expected)} (so many rows or fields of each)"]
    lines += [f"  {count:>6,}  {printable(file)}" for file, count in expected.removed.items()]
    for file in expected.deleted:
        again = "" if "/raw/" in file else " (a page; it is made again)"
        lines.append(f"     all  {printable(file)}{again}")
    if expected.trained_on_it:
        lines.append(
            f"  {', '.join(expected.trained_on_it)}: trained on data that held it, and cannot unlearn it"
        )
    return "\n".join(lines)


def n_files(outcome: Outcome) -> str:
    return counted(len(outcome.removed) + len(outcome.deleted), "file")


if __name__ == "__main__":
    run(main)
