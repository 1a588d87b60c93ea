"""What holds for every module and script of the project, whatever it does."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

from lib.base.own_modules import imports

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py") if path.stem != "__init__")
MODULES = sorted(path for path in (ROOT / "lib").glob("*/*.py") if path.stem != "__init__")
CODE = sorted(
    path for folder in ("lib", "scripts", "demo", "tests", ".ci") for path in (ROOT / folder).rglob("*.py")
)
RECORDS = "train.job train.manifest evaluate.evaluation evaluate.measures evaluate.report"
# What each room may import besides itself. After a dot stands the only module: the records of a run.
ARROWS = {
    "base": "",
    "data": "base",
    "scale": "base data",
    "collect": "base data",
    "model": "base data",
    "judge": "base data",
    "train": "base data model",
    "evidence": "base",
    "evaluate": "base data model judge evidence train.job train.manifest",
    "publish": f"base data model {RECORDS}",
    "export": f"base data model {RECORDS}",
    "remote": "base train.needs",
}
ROOMS = [room for room in ARROWS if (ROOT / "lib" / room).is_dir()]
HEAVY = [
    "torch",
    "transformers",
    "trl",
    "peft",
    "unsloth",
    "mlx",
    "sentence_transformers",
    "detoxify",
    "gradio",
    "anthropic",
    "apify_client",
    "numpy",
    "scipy",
    "statsmodels",
    "sklearn",
    "datasets",
    "textual",
    "wandb",
]


def python(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def docstring(path):
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def functions(path):
    """(name, number of lines, docstring) of every function and method of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.end_lineno - node.lineno + 1, ast.get_docstring(node) or ""


def n_lines(path):
    return path.read_text(encoding="utf-8").count("\n")


# --- rooms -------------------------------------------------------------------------------------------


def test_lib_holds_only_rooms():
    there = {path.name for path in (ROOT / "lib").iterdir()} - {"__pycache__", ".DS_Store"}
    assert there == {"__init__.py", *ROOMS}
    assert not (ROOT / "lib" / "__init__.py").read_text().strip()


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_holds_its_doors_and_what_it_may_import_and_does_nothing_else(room):
    path = ROOT / "lib" / room / "__init__.py"
    (only,) = ast.parse(path.read_text(encoding="utf-8")).body
    assert isinstance(only, ast.Expr) and isinstance(only.value.value, str)
    said = docstring(path)
    doors = re.findall(r"`(\w+)` \(", said)
    assert 1 <= len(doors) <= 2
    assert [door for door in doors if not path.with_name(f"{door}.py").is_file()] == []
    may = re.search(r"May import: (.*)\.$", said).group(1)
    assert set(re.findall(r"\w+", may)) & set(ARROWS) == {name.split(".")[0] for name in ARROWS[room].split()}


def test_the_readme_gives_each_room_a_line_its_docstrings_first():
    layout = re.search(r"(?m)^lib/ .*\n((?:  \w+/ .*\n)+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    lines = dict(re.findall(r"  (\w+)/ +(.*)\n", layout.group(1)))
    assert list(lines) == ROOMS
    for room in ROOMS:
        assert f"{lines[room]}." == docstring(ROOT / "lib" / room / "__init__.py").splitlines()[0]


def test_pages_name_files_that_exist():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"`((?:lib|scripts|demo|tests|configs|docs)/[\w./-]+)`", text)
        assert [name for name in named if not (ROOT / name).exists()] == [], page


def test_tests_stand_in_the_rooms_of_what_they_test():
    assert [room for room in ROOMS if not list((ROOT / "tests" / room).glob("test_*.py"))] == []


# --- arrows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_its_arrows_allow(room):
    allowed = {f"lib.{name}" for name in [room, *ARROWS[room].split()]}
    wrong = [
        f"{name_of(path)} -> {name_of(imported)}"
        for path in sorted((ROOT / "lib" / room).glob("*.py"))
        for imported in sorted(imports(path))
        if not any(f"{name_of(imported)}.".startswith(f"{name}.") for name in allowed)
    ]
    assert wrong == []


def test_no_circle_of_imports():
    graph = {name_of(path): {name_of(file) for file in imports(path) - {path}} for path in MODULES}
    circle = []
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = error.args[1]
    assert circle == [], " -> ".join(circle)


def test_scripts_import_only_rooms_and_demo_only_rooms_and_itself():
    for folder, allowed in (("scripts", ("lib.",)), ("demo", ("lib.", "demo."))):
        for path in (ROOT / folder).glob("*.py"):
            assert [name for name in map(name_of, imports(path)) if not name.startswith(allowed)] == [], path


@pytest.mark.parametrize(
    "code",
    [
        "from lib.model.chat import prompt_of",
        "from lib.model import chat",
        "import lib.model.chat",
        "from ..model.chat import prompt_of",
        "def f():\n    from lib.model.chat import prompt_of",
        "if TYPE_CHECKING:\n    import lib.model.chat as chat",
        'importlib.import_module("lib.model.chat")',
    ],
)
def test_an_import_is_seen_wherever_and_however_it_is_written(code, tmp_path, monkeypatch):
    monkeypatch.setattr("lib.base.own_modules.ROOT", tmp_path)
    for room, text in (("model/chat", ""), ("model/__init__", ""), ("data/pairs", code)):
        path = tmp_path / "lib" / f"{room}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert imports(path) == {tmp_path / "lib/model/chat.py"}


# --- sizes -------------------------------------------------------------------------------------------


def test_modules_are_short_and_none_is_long():
    sizes = {name_of(path): n_lines(path) for path in MODULES}
    assert {name: n for name, n in sizes.items() if n > 260} == {}
    assert median(sizes.values()) <= 130


def test_no_function_is_longer_than_a_screen():
    paths = [path for path in CODE if path.relative_to(ROOT).parts[0] != "tests"]
    found = {f"{name_of(path)}.{name}": n for path in paths for name, n, _ in functions(path)}
    assert {name: n for name, n in found.items() if n > 60} == {}


def test_scripts_are_short():
    sizes = {name: n_lines(ROOT / "scripts" / f"{name}.py") for name in SCRIPTS}
    assert {name: n for name, n in sizes.items() if n > 90} == {}


def test_lines_of_code_and_prose_fit_in_110_characters():
    """Excepted are tables, what `make bench` wrote, and lines of a page without a space to break them at."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    wide = []
    for path in [*CODE, *pages, ROOT / "Makefile", ROOT / ".ci" / "run"]:
        text = path.read_text(encoding="utf-8")
        if path in pages:
            text = re.sub(r"(?s)<!-- bench:.*?<!-- /", lambda table: "\n" * table[0].count("\n"), text)
        for number, line in enumerate(text.splitlines(), 1):
            unbroken = path in pages and (line.startswith("|") or " " not in line.strip(" >-"))
            if len(line) > 110 and not unbroken:
                wide.append(f"{path.relative_to(ROOT)}:{number}: {len(line)}")
    assert wide == []


def test_docstrings_name_the_noun_first():
    said = {name_of(path): docstring(path) for path in MODULES}
    said |= {f"{name_of(path)}.{name}": text for path in MODULES for name, _, text in functions(path)}
    assert [name for name, text in said.items() if re.match(r"(What|Whether)\b", text)] == []


# --- starting ----------------------------------------------------------------------------------------


def test_importing_lib_loads_no_heavy_package():
    code = "\n".join(f"import {name_of(path)}" for path in MODULES)
    done = python(f"import sys\n{code}\nprint([name for name in {HEAVY} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_shows_the_command_and_loads_nothing_heavy(name):
    done = python(
        "import atexit, runpy, sys\n"
        f"atexit.register(lambda: print([name for name in {HEAVY} if name in sys.modules]))\n"
        f"sys.argv = ['{name}', '--help']\n"
        f"runpy.run_module('scripts.{name}', run_name='__main__')"
    )
    assert done.returncode == 0, done.stderr
    assert f"python -m scripts.{name}" in done.stdout
    assert done.stdout.endswith("[]\n"), done.stdout


# --- packages ----------------------------------------------------------------------------------------


def test_the_pod_has_the_same_pins_as_the_laptop():
    def pins(name):
        lines = (ROOT / name).read_text().splitlines()
        return dict(
            re.match(r"([\w-]+)(.*?)\s*(#.*)?$", line).groups()[:2]
            for line in lines
            if re.match(r"[\w-]+", line)
        )

    laptop, pod, tested = (
        pins("requirements.txt"),
        pins("requirements-runpod.txt"),
        pins("tests/unsloth-cpu.txt"),
    )
    for name in ("unsloth", "unsloth_zoo", "torchao"):
        assert tested[name] == pod[name], name
    assert "torch" not in pod
    assert {name: pin for name, pin in pod.items() if name in laptop} == {
        name: laptop[name] for name in pod if name in laptop
    }
    assert set(pod) - set(laptop) == {"unsloth", "unsloth_zoo", "torchao", "xformers"}
