"""Publish a run's adapter on the Hugging Face Hub: builds adapters/<run>/dist, checks it for leaks, asks,
uploads.

python -m scripts.publish --config configs/train-qwen3-8b.yaml --repo ann/reply-8b [--public] [--dry-run]

Private unless --public is given. --dry-run stops after the list of files and needs no token and no network.
Without a passing evaluation of this very adapter it refuses; FORCE=1 publishes it all the same, and the card
says so.
"""

import os
from pathlib import Path
from typing import Any

from lib.base.config import config_name, given, load_config
from lib.base.console import confirm, load_env, parser, run
from lib.base.errors import UserError
from lib.base.files import read_json, write_json
from lib.base.settings import EvalConfig, TrainConfig
from lib.evaluate.standing import next_line
from lib.export.howto import on_other_engines
from lib.model.adapters import ADAPTER_FILE
from lib.publish.dist import Publication, build_dist, dist_files, listing
from lib.publish.hub import check_repo_name, endpoint, hub_token, publish
from lib.train.fingerprint import changed_since
from lib.train.manifest import as_trained

TERMS = (
    "X's terms: whether an adapter trained on posts may be passed on is not settled, and yours to answer: "
    "docs/data-policy.md"
)


def main() -> None:
    args = _arguments()
    load_env()
    today, folder = load_config(args.config, TrainConfig), Path("adapters") / config_name(args.config)
    if not (folder / ADAPTER_FILE).is_file():
        raise UserError(f"{folder} holds no finished run. Run `make train RUN={folder.name}` first.")
    if line := changed_since(folder, today):
        print(f"publish: {line}")
    config = given(as_trained(folder, today), data=args.data, eval=args.eval)
    sampling = load_config(args.config.with_name(f"eval-{config.eval}.yaml"), EvalConfig).sampling
    receipt_path = folder / "publish.json"
    last = read_json(receipt_path) if receipt_path.is_file() else None
    repo = _repo(args.repo, last, folder.name)
    if not args.dry_run:
        hub_token()  # before the work, not after it
    engines = on_other_engines(repo, folder, config, sampling)
    dist = build_dist(Publication(folder, config, repo, sampling, engines, os.environ.get("FORCE") == "1"))
    files = dist_files(dist)
    print(listing(dist, files))
    kind = "PUBLIC" if args.public else "private"
    if args.dry_run:
        print(f"dry run: nothing was sent. It would go to the {kind} repository {repo} at {endpoint()}.")
        return
    print(TERMS)
    confirm(f"Upload these {len(files)} files to the {kind} repository {repo} at {endpoint()}?")
    receipt = publish(dist, files, repo, args.public, last)
    uploaded = receipt.pop("uploaded")
    write_json(receipt_path, receipt)  # stays here: the allow-list does not name it
    said = "published" if uploaded else "nothing has changed, nothing was uploaded:"
    visible = "private" if receipt["private"] else "public"
    print(f"{said} {receipt['url']} ({visible}, {receipt['tag']}, commit {receipt['commit'][:8]})")
    print(f"wrote {receipt_path}\n{next_line(args.config, args.data, args.eval)}")


def _arguments() -> Any:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True)
    arguments.add_argument("--data", help="the data set that the files are scanned for; default: the run's")
    arguments.add_argument("--eval", help="the evaluation whose report is told; default: the run's")
    arguments.add_argument("--repo", help="<user>/<name>; default: where this run was published last")
    arguments.add_argument("--public", action="store_true", help="everyone may read it; default: private")
    arguments.add_argument("--dry-run", action="store_true", help="build, check and list; send nothing")
    return arguments.parse_args()


def _repo(asked: str | None, last: dict[str, Any] | None, run_name: str) -> str:
    repo = asked or (last or {}).get("repo")
    if not repo:
        raise UserError(
            f"Which repository? make publish RUN={run_name} REPO=<user>/<name>, or --repo <user>/<name>."
        )
    check_repo_name(repo)
    return repo


if __name__ == "__main__":
    run(main)
