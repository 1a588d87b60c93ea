"""What this machine has against what a run needs: what is missing, the exact fix, and what works without it.

    python -m scripts.doctor --config configs/train-qwen3-8b.yaml [--json]

Nothing is downloaded, written or paid for; keys are tried with one free question each, and never printed.
Exit 1 if the run cannot be trained on this machine. A missing key is no such fault: one command asks for it.
"""

import importlib.util
import json
from dataclasses import asdict
from pathlib import Path

from lib.base.console import load_env, parser, printable, run
from lib.base.endpoints import Endpoint, ask
from lib.base.findings import Finding, key_finding, machine_findings, network_finding, package_findings, table
from lib.base.hardware import this_machine
from lib.base.installed import installed

ANTHROPIC_VERSION = {"anthropic-version": "2023-06-01"}
# The service, and what its key is for.
SERVICES = (
    (Endpoint("APIFY_API_TOKEN", "APIFY_API_BASE_URL", "https://api.apify.com", "/v2/users/me", suffix="/v2"),
     "for make data: apify.com, Settings, API"),
    (Endpoint("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "https://api.anthropic.com", "/v1/models",
              headers=ANTHROPIC_VERSION, suffix="/v1"),
     "for make eval: platform.claude.com, API keys"),
    (Endpoint("HF_TOKEN", "HF_ENDPOINT", "https://huggingface.co", "/api/whoami-v2"),
     "for make publish: huggingface.co/settings/tokens"),
    (Endpoint("RUNPOD_API_KEY", "RUNPOD_API_BASE_URL", "https://api.runpod.io", "/v2/pods", suffix="/v2"),
     "for ON=runpod: console.runpod.io, API keys"),
)  # fmt: skip
FILES = ("requirements.txt", "requirements-runpod.txt")


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--json", action="store_true", help="the same as one JSON object")
    args = arguments.parse_args()
    run_name, machine = args.config.stem.removeprefix("train-"), this_machine(Path())
    own = FILES[Path(".venv/runpod").is_file()]
    found = machine_findings(machine)
    found += package_findings({file: installed(Path(file)) for file in FILES}, own)
    said = {}
    if all(finding.state != "no" for finding in found):
        from lib.base.config import load_config
        from lib.base.settings import TrainConfig
        from lib.remote.need import REPLIES_MINUTES
        from lib.train.checkup import of_run

        config = load_config(args.config, TrainConfig)
        fits, said = of_run(run_name, config, machine, REPLIES_MINUTES[1])
        found += fits
    found += of_services()
    missing = {finding.name for finding in found if finding.state == "no"}
    works = not missing
    if args.json:
        shown = {"run": run_name, "works": works, "findings": [asdict(finding) for finding in found], **said}
        print(json.dumps(shown, indent=2, ensure_ascii=False))
        return 0 if works else 1
    print(printable(f"doctor for {run_name}\n{table(found)}\n"))
    if said:
        print(f"{', '.join(said['here'])}: yes\ntraining {said['model']}: {said['training']}")
    if missing <= {"GPU"}:  # one can be rented
        from lib.evaluate.standing import next_line

        print(next_line(args.config))
    else:
        print("next: do what the arrows say, from the top; then `make doctor` again")
    return 0 if works else 1


def of_services() -> list[Finding]:
    """The network, and the key of each service."""
    if importlib.util.find_spec("dotenv"):
        load_env()
    services = [service for service, _ in SERVICES]
    answers = ask(services)
    keys = zip(SERVICES, answers, strict=True)
    return [
        network_finding(services, answers),
        *(key_finding(service, answer, use) for (service, use), answer in keys),
    ]


if __name__ == "__main__":
    run(main)
