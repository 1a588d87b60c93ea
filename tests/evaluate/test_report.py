"""report.json as a record: what is written is read again, what earlier versions wrote too, anything else gets
a sentence.
"""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from lib.base.errors import UserError
from lib.base.files import write_json
from lib.evaluate.report import Report, read_report

OLDER = Path(__file__).parent / "older" / "report.json"  # of a quickstart before reports had a version


def today():
    return {"version": 1} | json.loads(OLDER.read_text())


def written(tmp_path, value):
    write_json(tmp_path / "report.json", value)
    return tmp_path / "report.json"


def test_a_report_of_an_earlier_version_is_read_without_loss():
    report = read_report(OLDER)
    assert report.as_written() == json.loads(OLDER.read_text())
    assert (report.version, report.gate.verdict, report.judge.stand_in) == (None, "fail", True)
    assert report.headline.net_win == report.net_win == pytest.approx(65.957, abs=1e-3)
    assert [row.name for row in report.gate.criteria if not row.passed] == ["tweets", "perplexity"]


def test_the_first_reports_lack_much_and_name_what_nobody_knows_any_more(tmp_path):
    value = {
        "net_win": 10.0,
        "ci95": [-8.0, 27.5],
        "mde": {"d": 0.45, "net_win": 33.0},
        "gate": None,
        "notes": 1,
    }
    report = read_report(written(tmp_path, value))
    assert (report.net_win, report.ci95, report.mde, report.gate.verdict) == (10.0, (-8.0, 27.5), 0.45, None)
    assert report.headline.mde == {"d": 0.45, "net_win": 33.0}
    both = read_report(written(tmp_path, value | {"headline": {"wins": 30}}))
    assert (both.headline.wins, both.headline.mde["d"]) == (30, 0.45)


def test_what_is_written_today_is_read_again_to_the_byte(tmp_path):
    path = written(tmp_path, today())
    before = path.read_bytes()
    assert written(tmp_path, read_report(path).as_written()).read_bytes() == before


@pytest.mark.parametrize(
    "change, said",
    [
        ({"net_win": "65.9"}, "report.json: net_win: Input should be a valid number"),
        ({"surprise": 1}, "report.json: surprise: Extra inputs are not permitted"),
        ({"judge": {"kind": "offline", "mood": "good"}}, "report.json: judge.mood: Extra inputs"),
        ({"version": 2}, "is version 2, this program reads 1"),
        ({"version": "1"}, "report.json: version:"),
    ],
)
def test_a_report_that_is_not_one_names_file_and_field(tmp_path, change, said):
    with pytest.raises(UserError, match=said.replace(".", r"\.")):
        read_report(written(tmp_path, today() | change))


def test_a_report_with_a_version_must_be_complete(tmp_path):
    value = today()
    del value["gate"]
    with pytest.raises(UserError, match="gate missing"):
        read_report(written(tmp_path, value))


def test_a_file_that_holds_no_object_is_no_report(tmp_path):
    with pytest.raises(UserError, match="expected a JSON object"):
        read_report(written(tmp_path, [1]))


def test_a_report_cannot_be_changed():
    report = read_report(OLDER)
    with pytest.raises(ValidationError, match="frozen"):
        report.net_win = 100.0
    assert isinstance(report, Report)
