"""Folders that a command made only to refuse."""

from lib.base.folders import no_empty_folders


def test_folders_that_were_made_for_a_lock_alone_are_gone_afterwards(tmp_path):
    path = tmp_path / "a/b/c.lock"
    with no_empty_folders(path):
        path.parent.mkdir(parents=True)
        path.touch()
    assert list(tmp_path.iterdir()) == []


def test_folders_that_hold_something_else_stay_with_their_lock(tmp_path):
    path = tmp_path / "a/b/c.lock"
    with no_empty_folders(path):
        path.parent.mkdir(parents=True)
        path.touch()
        (path.parent / "work").touch()
    assert {file.name for file in path.parent.iterdir()} == {"c.lock", "work"}


def test_a_folder_that_was_there_before_stays_with_its_lock(tmp_path):
    path = tmp_path / "c.lock"
    with no_empty_folders(path):
        path.touch()
    assert path.exists()
