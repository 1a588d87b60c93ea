"""Train the variants listed in a sweep file, and rank them by validation loss. Finished variants are left as
they are.

    python -m scripts.sweep --config configs/sweep-lora.yaml

Each variant is an ordinary run: configs/train-sweep-<sweep>-<values>.yaml is written for it, and `make eval
RUN=...`, `make runs`,
`make compare` and `make demo` take it like any other. The ranking is in adapters/sweep-<sweep>.json. MAX_USD
lowers max_usd.
"""

from pathlib import Path

from lib.base.config import config_name, load_config
from lib.base.console import parser, run
from lib.base.settings import TrainConfig
from lib.data.ready import refuse_unready
from lib.model.machine import refuse_small_machine
from lib.train.sweep import sweep, train_apart
from lib.train.variants import SweepConfig, table


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/sweep-<name>.yaml")
    path = arguments.parse_args().config
    config, name = load_config(path, SweepConfig), config_name(path)
    base = load_config(path.with_name(f"train-{config.base}.yaml"), TrainConfig)
    refuse_unready(base.data)
    refuse_small_machine(config.base, base, to_train=True)
    found = sweep(name, config, train_apart)
    states = [one["state"] for one in found["variants"]]
    print(
        f"sweep {name}: {states.count('finished')} of {len(states)} variants of {found['base']} finished, "
        f"${found['usd']:.2f} spent"
    )
    print(table(found["variants"]))
    if found["note"]:
        print(found["note"])
    print(f"wrote adapters/sweep-{name}.json")
    if found["best"]:
        print(f"next: make eval RUN={found['best']}")
    return 0 if found["best"] else 1


if __name__ == "__main__":
    run(main)
