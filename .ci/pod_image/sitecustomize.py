"""A pod's torch, as packages see it, in every Python process with this folder on PYTHONPATH and
POD_TORCH=2.8.0.

It is the installed torch under another version and, for all but torch's own modules, without the names that
the pod's torch lacks: what imports one of them fails as it would there.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import os
import sys
from typing import Any

VERSION = os.environ["POD_TORCH"]
# Per module the names that some package imports, and the release that brought them.
NEWER = {"torch.nn.functional": {"ScalingType": (2, 10), "SwizzleType": (2, 10)}}


class PodTorch(importlib.abc.MetaPathFinder):
    """The ordinary import of torch, then the disguise: torch is loaded only where something imports it."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != "torch":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def disguised(module: Any) -> None:
            execute(module)
            module.__version__ = type(module.__version__)(VERSION)
            release = tuple(map(int, VERSION.split(".")[:2]))
            for home, names in NEWER.items():
                hide(
                    importlib.import_module(home), [name for name, since in names.items() if release < since]
                )

        spec.loader.exec_module = disguised
        return spec


def hide(module: Any, names: list[str]) -> None:
    hidden = {name: vars(module).pop(name) for name in names}

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name in hidden and sys._getframe(1).f_globals["__name__"].split(".")[0] == "torch":
            return hidden[name]
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

    module.__getattr__ = __getattr__


installed = importlib.metadata.version
importlib.metadata.version = lambda name: VERSION if name == "torch" else installed(name)
sys.meta_path.insert(0, PodTorch())
