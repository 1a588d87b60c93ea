"""On a rented machine: pack what a run made, for the way home. Called by the job itself, not by a person.

    python -m scripts.pack_results --run qwen3-8b --exit-code 0 --out /workspace/results.tar

Writes results.tar and, last, results.json beside it: the exit status of the job and the sha256 of every file.
"""

from pathlib import Path

from lib.base.console import parser, run
from lib.remote.parcel import pack_results


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--run", required=True, help="name of the run")
    arguments.add_argument("--exit-code", type=int, required=True, help="of the job so far")
    arguments.add_argument("--out", type=Path, required=True, help="where results.tar goes")
    arguments.add_argument("--repo", help="private dataset repository on the Hub that takes both files")
    args = arguments.parse_args()
    pack_results(Path("adapters") / args.run, args.out, args.exit_code)
    if args.repo:
        from lib.remote.hf_parcel import send_results

        send_results(args.out, args.repo)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    run(main)
