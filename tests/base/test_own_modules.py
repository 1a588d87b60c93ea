"""What a file is made of: every way to name a module or a template, in a project of a few files."""

import pytest

from lib.base import own_modules

FILES = {
    "lib/a/__init__.py": "",
    "lib/a/near.py": "from . import far\nfrom .far import something\n",
    "lib/a/far.py": "import lib.b\nimport json, yaml\n",
    "lib/a/late.py": "def later():\n    from lib.a import near\n",
    "lib/a/named.py": "NAME = 'lib.a.far'\nOTHER = 'see lib.a.near for more'\n",
    "lib/a/page.py": "PAGE = 'templates/page.html'\nSCRIPT = '.js'\n",
    "lib/a/templates/page.html": "{% include 'parts.html' %}",
    "lib/a/templates/parts.html": "",
    "lib/a/templates/page.js": "",
    "lib/a/templates/other.js": "",
    "lib/b/__init__.py": "",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    cached = (own_modules.imports, own_modules._assets, own_modules._other_files, own_modules._nodes)
    monkeypatch.setattr(own_modules, "ROOT", tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for function in cached:
        function.cache_clear()
    yield tmp_path
    for function in cached:
        function.cache_clear()


@pytest.mark.parametrize(
    ("module", "needs"),
    [
        ("far", {"far", "b"}),
        ("near", {"near", "far", "b"}),
        ("late", {"late", "near", "far", "b"}),
        ("named", {"named", "far", "b"}),
        ("page", {"page", "page.html", "parts.html", "page.js"}),
    ],
)
def test_a_module_needs_what_it_imports_or_names_directly_or_through_others(project, module, needs):
    found = own_modules.closure(project / f"lib/a/{module}.py")
    names = {path.parent.name if path.stem == "__init__" else path.name.removesuffix(".py") for path in found}
    assert names - {"a"} == needs


def test_what_comes_from_elsewhere_is_told_by_its_first_name(project):
    assert own_modules.foreign(project / "lib/a/far.py") == {"json", "yaml"}
    assert own_modules.foreign(project / "lib/a/near.py") == set()
