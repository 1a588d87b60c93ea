"""Collect tweets and their replies into data/<set>/raw, asking before anything is paid for.

    python -m scripts.collect --config configs/data-main.yaml

Killed or failed, the same command goes on where it stopped; nothing is paid twice. YES=1 answers the
question, MAX_USD lowers collect.max_usd, AGAIN=1 asks (and pays) once more where only the provider's filler
came back.
"""

import os
import sys
from functools import partial
from pathlib import Path

from lib.base.config import config_name, load_config
from lib.base.console import confirm, load_env, parser, printable, run
from lib.base.files import write_json
from lib.base.settings import DataConfig
from lib.collect import collection as collecting
from lib.collect.forecast import budget, summary
from lib.collect.provider import Provider
from lib.collect.worth import own_files


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True)
    path = arguments.parse_args().config
    config, folder = load_config(path, DataConfig), Path("data") / config_name(path)
    if config.collect.source == "files":
        print(printable(own_files(folder / "raw", config.collect.files)))
        write_json(
            folder / "raw" / "manifest.json", {"source": "files", "files": config.collect.files}
        )  # make reads it as "collected"
        return
    load_env()
    again, max_usd = os.environ.get("AGAIN") == "1", budget(config, os.environ.get("MAX_USD"))
    if not again and (outcome := collecting.finished(folder, config, max_usd)):
        print(printable(f"{summary(folder, outcome)}\nNothing to do: the config has not changed since."))
        return
    talk = collecting.Talk(confirm=lambda question: confirm(printable(question)), say=_say)
    provider, request = _source(config)
    outcome = collecting.collect(folder, config, provider, request, max_usd, talk, again)
    print(printable(summary(folder, outcome)))


def _source(config: DataConfig) -> tuple[Provider, collecting.MakeRequest]:
    if config.collect.source == "twscrape":
        from lib.collect import twscrape as twscrape_source

        return twscrape_source.connect(), partial(twscrape_source.request, config)
    from lib.collect import apify as apify_source

    return apify_source.connect(config), partial(apify_source.request, config)


def _say(line: str) -> None:
    print(f"collect: {printable(line)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run(main)
