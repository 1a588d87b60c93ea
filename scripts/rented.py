"""Every rented machine of this project that may still be billed, on RunPod and Hugging Face Jobs; --end ends
them.

python -m scripts.rented --end
"""

from pathlib import Path

from lib.cli import load_env, parser, printable, run
from lib.remote.rented import end_all, engines, rented, settle_all
from lib.remote.seam import Clock


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument(
        "--end", action="store_true", help="end all of them, without asking; what they have made is lost"
    )
    args = arguments.parse_args()
    load_env()
    clock = Clock()
    known, missing = engines(clock, print)
    for row in rented(Path(), known, missing):
        price = f"${row.machine.usd_per_hour:.2f} an hour" if row.machine.usd_per_hour else "price unknown"
        where = f"run {row.run}" if row.run else "not started from this folder"
        print(
            printable(
                f"{row.engine}  {row.machine.name}  {row.machine.id or 'perhaps never started'}  {price}  "
                f"{where}"
            )
        )
    if args.end:
        end_all(Path(), known, clock, print)
    settle_all(Path(), known, clock, print)
    left = rented(Path(), known, missing)
    asked = " and ".join(engine.name for engine in known) or "no provider (no key is set)"
    print(
        f"rented: {len(left)} machines may still be billed; asked {asked}"
        + (", no key for " + ", ".join(missing) if missing else "")
    )
    if left:
        print("next: make rented END=1      ends them; make train ON=... goes on with the one of its run")


if __name__ == "__main__":
    run(main)
