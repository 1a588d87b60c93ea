"""The page of a Hugging Face Space: recorded replies, base and tuned side by side. It stands there as app.py.

python app.py

No model runs, nothing is kept, nothing is fetched.
"""

import os
import threading
from pathlib import Path

from demo.page import launch
from demo.replay import replay_app
from lib.base.console import run
from lib.base.files import read_json
from lib.evaluate.evaluation import Recorded

EVERYWHERE = "0.0.0.0"


def main() -> None:
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")  # read at the import
    replayed = read_json(Path(__file__).with_name("recorded.json"))
    rows = [Recorded(**row) for row in replayed["recorded"]]
    app = replay_app(rows, f"Base · {replayed['model']}", f"Tuned · {replayed['run']}").queue(max_size=16)
    # A Space stands in a frame of another site and has names of its own, which the guard of a local page
    # would refuse. There is nothing behind it to guard.
    is_space = bool(os.environ.get("SPACE_ID"))
    url = launch(app, None, **({"host": EVERYWHERE, "_app": None} if is_space else {}))
    try:
        print(f"open {url}   (Ctrl-C ends it)", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        app.close(verbose=False)


if __name__ == "__main__":
    run(main)
