"""The files from which splitting starts, as the stages of this version and of earlier ones leave them."""

import pytest

from lib.base.errors import UserError
from lib.base.files import lock, write_jsonl
from lib.base.schema import Rejection, Validation
from lib.data.interim import building, building_lock, read_interim, stage_counts
from tests.eval_data import START, pair

KEPT = [pair(n) for n in range(3)]
LACKS = Validation(valid=False, reasons=["reply_likes"], validated_at=START, language="en")
CANDIDATE = KEPT[2].model_copy(update={"validation": LACKS})


def write_interim(folder, filtered_out=KEPT[2], n_filtered=2):
    write_jsonl(folder / "pairs.jsonl", KEPT)
    write_jsonl(folder / "filtered.jsonl", KEPT[:n_filtered])
    write_jsonl(folder / "clean.jsonl", KEPT[:2])
    rejected = [Rejection.of(filtered_out, "filter", "reply_likes", "3 < 5")]
    write_jsonl(folder / "filtered.rejected.jsonl", rejected)
    for name in ("pairs.rejected", "clean.rejected", "tweets"):
        write_jsonl(folder / f"{name}.jsonl", [])


def test_the_counts_of_a_stage_are_what_came_in_and_what_went_out(tmp_path):
    write_interim(tmp_path)
    left = read_interim(tmp_path)
    assert left.counts["filter"] == {"in": 3, "kept": 2, "rejected": 1, "reasons": {"reply_likes": 1}}
    assert left.counts["clean"] == {"in": 2, "kept": 2, "rejected": 0, "reasons": {}}
    assert left.clean == KEPT[:2]


def test_candidates_have_a_file_and_a_rejection_that_looks_like_one_is_none(tmp_path):
    write_interim(tmp_path, filtered_out=CANDIDATE)
    write_jsonl(tmp_path / "candidates.jsonl", [])
    assert read_interim(tmp_path).candidates == []
    write_jsonl(tmp_path / "candidates.jsonl", [CANDIDATE])
    assert read_interim(tmp_path).candidates == [CANDIDATE]


def test_a_set_filtered_before_candidates_had_a_file_keeps_them_inside_its_rejections(tmp_path):
    write_interim(tmp_path, filtered_out=CANDIDATE)
    assert read_interim(tmp_path).candidates == [CANDIDATE]


def test_every_file_is_read_once(tmp_path, monkeypatch):
    from lib.data import interim

    write_interim(tmp_path)
    write_jsonl(tmp_path / "candidates.jsonl", [CANDIDATE])
    read = []

    def noting(reader):
        def read_noted(path, *args):
            read.append(path.name)
            return reader(path, *args)

        return read_noted

    for name in ("read_dicts", "read_jsonl"):
        monkeypatch.setattr(interim, name, noting(getattr(interim, name)))
    read_interim(tmp_path)
    assert sorted(read) == sorted(path.name for path in tmp_path.iterdir())


def test_stages_that_do_not_belong_together_are_refused(tmp_path):
    write_interim(tmp_path, n_filtered=1)
    with pytest.raises(UserError, match=r"filter read 2 pairs, but pair wrote 3.*make data"):
        read_interim(tmp_path)


def test_the_most_frequent_reason_comes_first_and_equal_ones_by_the_alphabet():
    counts = stage_counts(2, ["b", "c", "a", "c", "d", "d"])
    assert list(counts["reasons"].items()) == [("c", 2), ("d", 2), ("a", 1), ("b", 1)]
    assert (counts["in"], counts["kept"], counts["rejected"]) == (8, 2, 6)


@pytest.mark.parametrize("n_filtered, n_clean", [(1, 2), (3, 2), (2, 1), (2, 3)])
def test_a_stage_that_read_more_or_less_than_was_written_is_told(tmp_path, n_filtered, n_clean):
    write_interim(tmp_path, n_filtered=n_filtered)
    write_jsonl(tmp_path / "clean.jsonl", KEPT[:n_clean])
    with pytest.raises(UserError, match="so that the files belong together"):
        read_interim(tmp_path)


def test_a_set_is_built_by_one_process_at_a_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/data-x.yaml").write_text("collect: {source: files}\n")
    monkeypatch.setattr("sys.argv", ["stage", "--config", "configs/data-x.yaml"])
    with building("doc") as (_, _, folder), pytest.raises(UserError, match="in use"):
        assert str(folder) == "data/x"
        with lock(building_lock(folder)):
            pass
