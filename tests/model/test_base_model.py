"""Which base model a run has: its commit, its precision, its files, as recorded and as they are here."""

import pytest

from lib.base.files import write_json
from lib.base.settings import TrainConfig
from lib.model.base_model import commit_of, local_folder, pinned, settled

AUTO = TrainConfig(data="x", quantization="auto")


@pytest.fixture
def records(tmp_path):
    """(a begun run that names nothing, one that names a commit, one that names all)."""
    values = {
        "begun.json": {"config": {"quantization": "auto"}, "revision": None},
        "named.json": {"config": {}, "revision": "first"},
        "whole.json": {"config": {"quantization": "nf4"}, "revision": "second"},
    }
    for name, value in values.items():
        write_json(tmp_path / name, value)
    return [tmp_path / name for name in values]


def test_what_the_config_leaves_open_is_as_the_first_record_that_names_it(tmp_path, records):
    begun, named, whole = records
    found = pinned(AUTO, tmp_path / "not-there.json", begun, named, whole)
    assert (found.revision, found.quantization) == ("first", "nf4")
    assert pinned(AUTO, whole, named).revision == "second"
    assert pinned(AUTO, begun) == AUTO == pinned(AUTO)


def test_what_the_config_names_stays(records):
    own = TrainConfig(data="x", quantization="none", revision="own")
    assert pinned(own, *records) == own


@pytest.mark.parametrize(
    "quantization, recorded, found",
    [
        ("auto", {"quantization": "nf4"}, "nf4"),
        ("auto", {"quantization": "none"}, "none"),
        ("auto", {"quantization": "auto"}, "auto"),
        ("auto", {}, "auto"),
        ("auto", None, "auto"),
        ("none", {"quantization": "nf4"}, "none"),
        ("nf4", {"quantization": "none"}, "nf4"),
    ],
)
def test_auto_alone_is_settled_by_a_record(quantization, recorded, found):
    config = AUTO.model_copy(update={"quantization": quantization})
    assert settled(config, recorded) == config.model_copy(update={"quantization": found})


def test_a_model_is_here_only_with_all_of_its_files(tmp_path):
    config = TrainConfig(data="x", model=str(tmp_path))
    names = ("tokenizer.json", "tokenizer_config.json")
    assert local_folder(config, *names) is None
    (tmp_path / names[0]).touch()
    assert local_folder(config, *names) is None
    (tmp_path / names[1]).touch()
    assert local_folder(config, *names) == tmp_path


def test_a_commit_that_is_named_is_not_asked_for():
    assert commit_of(TrainConfig(data="x", model="nobody/nothing", revision="abc")) == "abc"
