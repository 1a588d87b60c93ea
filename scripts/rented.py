"""Every rented machine of this project that may still be billed, on RunPod and Hugging Face Jobs; --end ends
them.

python -m scripts.rented --end
"""

from pathlib import Path

from lib.base.console import counted, load_env, parser, printable, run
from lib.base.errors import UserError
from lib.evaluate.standing import next_line
from lib.remote.rented import end_all, engines, look, settle_all
from lib.remote.seam import Clock


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument(
        "--end", action="store_true", help="end all of them, without asking; what they have made is lost"
    )
    arguments.add_argument("--config", type=Path, help="configs/train-<run>.yaml, for the next command")
    args = arguments.parse_args()
    load_env()
    clock = Clock()
    known = engines(clock, print)
    found = look(Path(), known)
    for row in found.machines:
        price = f"${row.machine.usd_per_hour:.2f} an hour" if row.machine.usd_per_hour else "price unknown"
        where = f"run {row.run}" if row.run else "not started from this folder"
        name = f"{row.machine.name}  {row.machine.id or 'perhaps never started'}"
        print(printable(f"{row.engine}  {name}  {price}  {where}"))
    problems = end_all(Path(), known, clock, print) if args.end else []
    settle_all(Path(), known, clock, print)
    if args.end:
        found = look(Path(), known)
    n = len(found.machines)
    asked = f"asked {' and '.join(found.asked) or 'no provider: no key is set'}"
    print(f"rented: {counted(n, 'machine') if n else 'no machine'} may still be billed ({asked})")
    if problems := [*problems, *found.problems]:
        raise UserError("\n".join(problems))
    if n:
        print("next: make rented END=1      ends them; make train ON=... goes on with the one of its run")
    elif args.config:
        print(next_line(args.config))


if __name__ == "__main__":
    run(main)
