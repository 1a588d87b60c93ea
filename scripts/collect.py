"""Collect tweets and their replies into data/<set>/raw, asking before anything is paid for.

    python -m scripts.collect --config configs/data-main.yaml

Killed or failed, the same command goes on where it stopped; nothing is paid twice. YES=1 answers the
question, MAX_USD lowers collect.max_usd, AGAIN=1 asks (and pays) once more where only the provider's filler
came back. PARENTS=1 also buys, by their ids, the tweets that replies in raw/ answer and that are not there.
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
from lib.collect.parents import buy_missing
from lib.collect.provider import Provider
from lib.collect.worth import own_files


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True)
    path = arguments.parse_args().config
    config, folder = load_config(path, DataConfig), Path("data") / config_name(path)
    load_env()
    again, max_usd = os.environ.get("AGAIN") == "1", budget(config, os.environ.get("MAX_USD"))
    print(printable(_collected(config, folder, max_usd, again)))
    if os.environ.get("PARENTS") == "1":
        provider, _ = _source(config)
        print(printable(buy_missing(folder, config, provider, max_usd, TALK, again)))


def _collected(config: DataConfig, folder: Path, max_usd: float, again: bool) -> str:
    """Collect what the config asks for. Returns what came of it, in words."""
    if config.collect.source == "files":
        said = own_files(folder / "raw", config.collect.files)
        manifest = {"source": "files", "files": config.collect.files}
        write_json(folder / "raw" / "manifest.json", manifest)  # make reads it as "collected"
        return said
    if not again and (outcome := collecting.finished(folder, config, max_usd)):
        return f"{summary(outcome)}\nNothing to do: the config has not changed since."
    provider, request = _source(config)
    outcome = collecting.collect(folder, config, provider, request, max_usd, TALK, again)
    return f"{summary(outcome)}\nwrote {folder / 'raw'}"


def _source(config: DataConfig) -> tuple[Provider, collecting.MakeRequest]:
    """Who delivers; where raw/ holds files of one's own, tweets by id come from Apify."""
    if config.collect.source == "twscrape":
        from lib.collect import twscrape as twscrape_source

        return twscrape_source.connect(), partial(twscrape_source.request, config)
    from lib.collect import apify as apify_source

    return apify_source.connect(config), partial(apify_source.request, config)


def _say(line: str) -> None:
    print(f"collect: {printable(line)}", file=sys.stderr, flush=True)


TALK = collecting.Talk(confirm=lambda question: confirm(printable(question)), say=_say)

if __name__ == "__main__":
    run(main)
