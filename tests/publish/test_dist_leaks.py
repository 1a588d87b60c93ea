"""The last look at a folder: every file is read or refused, every finding has a place and an advice."""

import json
import os

import pytest

from lib.base.errors import UserError
from lib.publish import dist_leaks
from lib.publish.dist_leaks import refuse_leaks, weights_leaks
from lib.publish.known import Known

SECRET = "hf_" + "a1B2" * 5


def found(folder, known=None) -> str:
    """What is said of the folder; "" for nothing."""
    try:
        refuse_leaks(folder, known or Known())
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-32-be"])
def test_a_text_is_read_in_its_encoding_or_refused(tmp_path, encoding):
    (tmp_path / "README.md").write_bytes(f"token\n{SECRET}\n".encode(encoding))
    said = found(tmp_path)
    assert "README.md:2: a Hugging Face token" in said or (
        encoding[-3:] in ("-le", "-be") and "holds the control character" in said
    )
    assert SECRET not in said


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("x.bin", b"1", "is of a kind that cannot be checked"), ("x", b"1", "cannot be checked"),
        ("x.json", b"{", "is not valid JSON"), ("x.json", b"[" * 99_999, "is not valid JSON"),
        ("x.md", b"\xff\xff", "is not text"), ("x.md", b"a\0b", "control character"),
        ("x.md", b"a\x1bb", "control character"), ("x.md", b"---\na: [\n---\n", "is not valid YAML"),
        ("LICENSE", b"Apache\tLicense\r\n", ""), ("x.json", b'{"a": 1}', ""), ("x.py", b"pass\n", ""),
    ],
)  # fmt: skip
def test_what_cannot_be_checked_is_refused(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    assert said in found(tmp_path) if said else found(tmp_path) == ""


def test_a_text_has_a_largest_size(tmp_path, monkeypatch):
    assert dist_leaks.MAX_TEXT_BYTES >= 34_000_000  # a known tokenizer.json
    monkeypatch.setattr(dist_leaks, "MAX_TEXT_BYTES", 4)
    (tmp_path / "x.md").write_text("1234")
    assert found(tmp_path) == ""
    (tmp_path / "x.md").write_text("12345")
    assert "too much for a text" in found(tmp_path)


@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_a_link_is_refused_whatever_it_leads_to(tmp_path, make):
    (tmp_path / "dist").mkdir()
    (tmp_path / "README.md").write_text("x")
    make(tmp_path / "README.md", tmp_path / "dist/README.md")
    assert "is a link" in found(tmp_path / "dist")


def test_twenty_findings_are_shown_the_others_counted_and_each_file_has_its_advice(tmp_path):
    (tmp_path / "README.md").write_text("x\n" + f"{SECRET}\n" * 23)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"a": SECRET}))
    lines = found(tmp_path).splitlines()
    assert len([line for line in lines if "a Hugging Face token" in line]) == 20
    assert lines[1].startswith("  README.md:2: ") and lines[20].startswith("  README.md:21: ")
    assert lines[21] == "  and 4 more"
    assert lines[22].startswith("README.md: The card is made of") and len(lines) == 24
    assert lines[23].startswith("tokenizer_config.json: It is a copy of the run's own file")


def test_a_value_in_a_cards_metadata_has_its_line(tmp_path):
    value = f"hf_{SECRET[3:13]}\\\n  {SECRET[13:]}"
    (tmp_path / "README.md").write_text(f'---\na: 1\nb: "{value}"\n---\n\ntext\n')
    findings = [line.split(" (")[0] for line in found(tmp_path).splitlines() if " README.md:" in line]
    assert findings == ["  README.md:3: a Hugging Face token"]


def test_code_is_full_of_decorators_and_still_has_no_key(tmp_path):
    (tmp_path / "a.py").write_text("@property\ndef x(self): ...\n")
    assert found(tmp_path) == ""
    (tmp_path / "a.py").write_text(f"@property\nKEY = '{SECRET}'\n")
    assert "a.py:2: a Hugging Face token" in found(tmp_path)


@pytest.mark.parametrize("place", ["header", "numbers"])
def test_weights_are_read_too(tmp_path, place):
    header = {"__metadata__": {"note": SECRET}} if place == "header" else {}
    numbers = b"\1" * 50 + (SECRET.encode() if place == "numbers" else b"") + b"\1" * 50
    text = json.dumps({**header, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "adapter_model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + numbers)
    (leak,) = weights_leaks(path.name, path, Known())
    assert str(leak).startswith(f"{path.name} ({place}):1: a Hugging Face token")
    assert f"({place})" in found(tmp_path)
