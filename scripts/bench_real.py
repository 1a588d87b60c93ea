"""Train and evaluate a real language model (SmolLM2-135M) on real tweets, in a folder of its own.

    python -m scripts.bench_real [--real ../shared/real] [--short] [--write docs/benchmarks.md]

Without real tweets on this machine the bundled sample is used. Fails unless the loss on held-out replies
falls by 0.2 nats a token, with an interval clear of zero.
"""

import os
import sys
import tempfile
from pathlib import Path

from lib.base.benchmarks import in_fresh_process, measured, write_table
from lib.base.console import parser, run
from lib.base.errors import UserError
from lib.evaluate.real_model import LEAST_FALL, held_out_loss, steps, trial_page, write_workspace
from lib.model.smollm2 import ensure_smollm2

ITEMS = "rumoureval2017_items.jsonl"
MAX_GB = 16


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--real", type=Path, default=Path("../shared/real"), help=f"folder of {ITEMS}")
    arguments.add_argument("--short", action="store_true", help="one epoch, no replies, no judge")
    arguments.add_argument("--write", type=Path, metavar="PAGE", help="put the table between its markers")
    arguments.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="work in this new folder, and leave it"
    )
    args = arguments.parse_args()
    items = args.real / ITEMS if (args.real / ITEMS).is_file() else None
    load = os.getloadavg()[0]
    in_fresh_process(ensure_smollm2)
    with tempfile.TemporaryDirectory(prefix="bench-real-") as name:
        folder = args.keep or Path(name) / "trial"
        write_workspace(folder, Path.cwd(), items, args.short)
        minutes = {}
        for part, modules in steps(args.short).items():
            print(f"bench-real: {part}", file=sys.stderr, flush=True)
            minutes[part] = measured(modules, folder, MAX_GB)[0] / 60
        loss = in_fresh_process(held_out_loss, folder)
        page = trial_page(folder, loss, minutes, items is not None, load)
    print(page)
    if not loss.learned:
        low, fall, high = loss.fall
        raise UserError(
            f"The loss on held-out replies fell by {fall:.3f} ({low:.3f} to {high:.3f}) nats a token: less "
            f"than {LEAST_FALL}, or not clearly. Look at the last change to lib/train."
        )
    if args.write:
        write_table(args.write, "real", page)
        print(f"wrote {args.write}")


if __name__ == "__main__":
    run(main)
