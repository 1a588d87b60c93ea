"""The page of a Hugging Face Space: recorded replies, base and tuned side by side. It stands there as app.py.

python app.py

No model runs, nothing is kept, nothing is fetched.
"""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from demo.events import GeneratePair
from demo.page import build_app, launch
from lib.base.console import run
from lib.base.errors import UserError
from lib.base.files import read_json
from lib.base.settings import SamplingConfig

EVERYWHERE = "0.0.0.0"
RECORDED = Path(__file__).with_name("recorded.json")


def main() -> None:
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")  # read at the import
    app = page(read_json(RECORDED)).queue(max_size=16)
    # A Space stands in a frame of another site and has names of its own, which the guard of a local page
    # would refuse; there is nothing behind it to guard.
    is_space = bool(os.environ.get("SPACE_ID"))
    url = launch(app, None, **({"host": EVERYWHERE, "_app": None} if is_space else {}))
    try:
        print(f"open {url}   (Ctrl-C ends it)", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        app.close(verbose=False)


def page(replayed: dict[str, Any]) -> Any:
    """The Gradio app over the recordings, not yet launched."""
    recorded = {one["tweet"]: (one["base"], one["tuned"]) for one in replayed["recorded"]}
    return build_app(
        _replay(recorded),
        f"Base · {replayed['model']}",
        f"Tuned · {replayed['run']}",
        SamplingConfig(),
        tweets=list(recorded),
    )


def _replay(recorded: dict[str, tuple[str, str]]) -> GeneratePair:
    def generate_pair(tweet: str, sampling: SamplingConfig) -> Iterator[tuple[str, str]]:
        if tweet not in recorded:
            raise UserError("No reply was recorded for that tweet. “Next tweet” shows one that has both.")
        yield recorded[tweet]

    return generate_pair


if __name__ == "__main__":
    run(main)
