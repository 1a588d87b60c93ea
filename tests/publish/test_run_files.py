"""lib/publish/run_files.py: the folder that goes up is built afresh, or is what it was."""

import pytest

from lib.base.errors import UserError
from lib.publish.run_files import built_afresh, copied


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_nothing_of_an_interrupted_build_or_of_the_last_one_goes_up(tmp_path):
    for left in ("dist", "dist.partial"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "summary.json").write_text("old")
    with built_afresh(tmp_path / "dist") as folder:
        assert names(folder) == []
        (folder / "README.md").write_text("new")
    assert names(tmp_path / "dist") == ["README.md"]
    assert not (tmp_path / "dist.partial").exists()


def test_a_build_that_fails_changes_nothing(tmp_path):
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "README.md").write_text("old")
    with pytest.raises(UserError), built_afresh(tmp_path / "dist") as folder:
        (folder / "other.json").write_text("{}")
        raise UserError("a leak")
    assert names(tmp_path / "dist") == ["README.md"] and not (tmp_path / "dist.partial").exists()


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_a_link_is_not_copied(tmp_path, kind):
    (tmp_path / "theirs").write_text("a secret")
    link = tmp_path / "adapter_config.json"
    link.symlink_to(tmp_path / "theirs") if kind == "symbolic" else link.hardlink_to(tmp_path / "theirs")
    with pytest.raises(UserError, match="is a link"):
        copied(link, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_two_publications_do_not_build_one_folder(tmp_path):
    dist = tmp_path / "dist"
    with built_afresh(dist), pytest.raises(UserError, match="in use by another run"), built_afresh(dist):
        pass
    assert dist.is_dir()
