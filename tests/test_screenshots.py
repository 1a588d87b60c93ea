"""The README's screenshots: there, small, in light and in dark; their script."""

import re
import struct
from pathlib import Path

import pytest

from lib.base.errors import UserError
from tests import screenshots

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_shows_the_images_that_the_script_writes_and_no_other():
    named = set(re.findall(r"docs/images/[\w.-]+", README))
    assert named == {
        f"docs/images/{page}-{scheme}.png" for page in ("report", "demo") for scheme in ("light", "dark")
    }
    assert named == {path.relative_to(ROOT).as_posix() for path in screenshots.IMAGES.iterdir()}


def test_images_are_small_files_and_sharp():
    for path in screenshots.IMAGES.glob("*.png"):
        content = path.read_bytes()
        assert len(content) <= 1000 * screenshots.MAX_KB, path
        assert struct.unpack(">I", content[16:20])[0] >= 1600, path


def test_every_image_has_its_words():
    assert len(re.findall(r"<img ", README)) == len(re.findall(r'<img [^>]*alt="[^"]{30,}"', README)) == 2


def test_without_a_quickstart_the_script_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(screenshots, "ROOT", tmp_path)
    monkeypatch.setattr(screenshots, "REPORT", tmp_path / "adapters" / "report.html")
    with pytest.raises(UserError, match="make quickstart"):
        screenshots.main()


def test_a_picture_ends_where_the_last_whole_element_does(browser):
    page = browser.new_page(viewport={"width": 300, "height": 200})
    page.set_content(
        "<style>body,p{margin:0}p{height:60px}</style><main><p>a</p><p>b</p><p>c</p><p>d</p></main>"
    )
    assert page.evaluate(screenshots.WHOLE, 200) == 180
    assert page.evaluate(screenshots.WHOLE, 800) == 800
    page.close()
