"""Remove a tweet, a reply or an author from every file, and never collect it again.

python -m scripts.forget --id 1712345678901234567
python -m scripts.forget --handle somebody
"""

from pathlib import Path

from lib.base.console import parser, printable, run
from lib.base.files import lock
from lib.data.forget import forget, target_of


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--id", help="of a tweet or a reply")
    arguments.add_argument("--handle", help="of an author, with or without @")
    args = arguments.parse_args()
    target = target_of(args.id or None, args.handle or None)
    with lock(Path("data/forget.lock")):
        outcome = forget(Path(), target)
    if not outcome.removed and not outcome.deleted:
        print(f"forget: {target.name} is in no file. It is on the list and will never be collected.")
        return
    print(
        f"forget: {target.name} removed from {len(outcome.removed)} files; it will never be collected again"
    )
    for name, count in outcome.removed.items():
        print(f"  {count:>6,}  {printable(name)}")
    for name in outcome.deleted:
        print(f"  deleted {printable(name)} (the next make builds it again)")
    if outcome.trained_on_it:
        print(
            "adapters trained on data that held it, which cannot unlearn it: "
            + ", ".join(outcome.trained_on_it)
        )
        print(
            "  train them again (`make data`, then delete the folder and `make train RUN=...`), and withdraw "
            "what you published."
        )
    print("next: `make data` for the sets concerned")


if __name__ == "__main__":
    run(main)
