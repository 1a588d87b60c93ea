"""What runs here is what was chosen: packages by hash, actions by commit, and no code out of data."""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
LOCKS = {
    "requirements.lock": "requirements.txt",
    "requirements-runpod-2.8.0.lock": "requirements-runpod.txt",
    "requirements-runpod-2.9.1.lock": "requirements-runpod.txt",
    "requirements-scale.lock": "requirements-scale.txt",
    "tests/engines.lock": "tests/engines.txt",
    "tests/unsloth-cpu.lock": "tests/unsloth-cpu.txt",
    ".ci/uv.lock": ".ci/uv.txt",
}
EVERY_LOCK = sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.lock"), *ROOT.glob("*/*.lock")])


# --- packages ----------------------------------------------------------------------------------------


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def lines_of(name):
    lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    return [line for line in lines if line]


def locked(name):
    """{package: its versions in this lock}."""
    found = {}
    for line in lines_of(name):
        if not line.startswith("--hash"):
            package, version = re.match(r"([\w.-]+)==([\w.+!-]+)", line).groups()
            found.setdefault(normal(package), set()).add(version)
    return found


@pytest.mark.parametrize("name", EVERY_LOCK)
def test_a_lock_names_one_version_and_the_hashes_of_its_files_for_every_package(name):
    text = "\n".join(line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#"))
    entry = r"[a-z0-9.-]+==[\w.+!-]+(?: ; [^\\\n]+)? \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+"
    assert re.sub(entry, "", text + "\n").strip() == ""
    assert "://" not in text and str(ROOT) not in text


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_in_step_with_its_requirements(lock):
    from packaging.requirements import Requirement

    versions, torch = locked(lock), re.search(r"runpod-([\d.]+)\.lock", lock)
    text = (ROOT / LOCKS[lock]).read_text()
    xformers = re.findall(rf"^# torch {torch[1]}: (xformers==\S+)$", text, re.MULTILINE) if torch else []
    for asked in map(Requirement, lines_of(LOCKS[lock]) + xformers):
        there = versions.get(normal(asked.name), set())
        assert there, f"{asked} is not in {lock}: run `make lock`"
        assert all(asked.specifier.contains(one, prereleases=True) for one in there), (str(asked), there)


def test_every_documented_image_has_a_lock_and_its_torch_is_never_replaced():
    page = (ROOT / "docs/runpod-by-hand.md").read_text()
    torches = set(re.findall(r"runpod/pytorch:(\d+\.\d+\.\d+)-py", page))
    torches |= {
        ".".join(digits) for digits in re.findall(r"runpod/pytorch:[\w.-]+-torch(\d)(\d+)(\d)-", page)
    }
    pods = [name for name in LOCKS if "runpod" in name]
    assert {f"requirements-runpod-{torch}.lock" for torch in torches} == set(pods)
    for name in ("requirements.lock", *pods):
        brought = [
            one for one in locked(name) if re.fullmatch("torch|torchvision|triton|(nvidia|cuda)-.*", one)
        ]
        assert brought == ([] if "runpod" in name else ["torch"]), name


def test_what_is_installed_comes_from_a_lock():
    """Only what the person types to go on without the check has none, and pip's own look at what is there."""
    shell = "\n".join((ROOT / name).read_text() for name in ("Makefile", ".ci/run")).replace("\\\n", " ")
    unlocked = [line for line in shell.splitlines() if re.search(r"pip.? install\b", line)]
    unlocked = [line for line in unlocked if "--require-hashes" not in line and "--no-index" not in line]
    unlocked = [line.strip() for line in unlocked if "pip could not install" not in line]
    assert len(unlocked) == 2, unlocked
    assert unlocked[0].startswith("by_hand = ") and 'rest="$$pip install' in unlocked[1]


def test_torch_s_build_for_cpus_is_the_torch_of_the_requirements():
    (torch,) = (line for line in lines_of("requirements.txt") if line.startswith("torch=="))
    assert locked("requirements-cpu.lock") == {"torch": {torch.removeprefix("torch==") + "+cpu"}}
    assert set(EVERY_LOCK) == {*LOCKS, "requirements-cpu.lock", "requirements-cuda.lock"}


PYTHON = f"""#!/bin/sh
case "$1 $2" in "-m venv") mkdir -p "$3/bin" && exec ln -sf "$0" "$3/bin/python" ;; esac
exec {sys.executable} "$@"
"""


class Laptop:
    """A folder whose `make setup` wants one package, of a wheel that lies beside it; pip installs nothing."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "bin").mkdir()
        (folder / "bin/python3").write_text(PYTHON)
        (folder / "bin/python3").chmod(0o755)
        shutil.copy(ROOT / "Makefile", folder)
        with zipfile.ZipFile(folder / "wanted-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(
                "wanted-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: wanted\nVersion: 1.0\n"
            )
            wheel.writestr("wanted-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr("wanted-1.0.dist-info/RECORD", "")
        self.digest = hashlib.sha256((folder / "wanted-1.0-py3-none-any.whl").read_bytes()).hexdigest()
        self.write("requirements-cpu.lock", f"wanted==1.0+cpu --hash=sha256:{self.digest}\n")
        self.write("requirements-cuda.lock", "")
        self.write("requirements.txt", "wanted==1.0\n")

    def write(self, name, text):
        (self.folder / name).write_text(text)

    def setup(self, digest):
        self.write("requirements.lock", f"wanted==1.0 --hash=sha256:{digest}\n")
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PIP_"))
        }
        environment |= {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.folder),
        }
        environment |= {"PIP_DRY_RUN": "1", "PATH": f"{self.folder / 'bin'}{os.pathsep}{environment['PATH']}"}
        return subprocess.run(
            ["make", ".venv/setup.stamp"],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.mark.slow
def test_set_up_takes_the_files_of_the_lock_and_no_others(tmp_path):
    laptop = Laptop(tmp_path)
    done = laptop.setup("0" * 64)
    assert done.returncode and not (tmp_path / ".venv/setup.stamp").exists()
    assert laptop.digest in done.stderr, "pip names the file that it got"
    assert "error: pip could not install requirements.lock" in done.stderr
    assert "use another index and run this again. Without the check: .venv/bin/python -m pip" in done.stderr
    done = laptop.setup(laptop.digest)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".venv/setup.stamp").exists()


@pytest.mark.slow
def test_a_requirement_that_the_lock_lacks_is_not_installed_past_it(tmp_path):
    laptop = Laptop(tmp_path)
    laptop.write("requirements.txt", "wanted==1.0\nadded==2.0\n")
    done = laptop.setup(laptop.digest)
    assert done.returncode and "added==2.0" in done.stderr
    assert "error: requirements.lock lacks what requirements.txt asks for. Run `make lock`" in done.stderr


# --- actions -----------------------------------------------------------------------------------------


def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it():
    for path in (ROOT / ".github/workflows").iterdir():
        uses = re.findall(r"uses: *(.*)", path.read_text())
        assert uses and all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40} +# v\d+\.\d+\.\d+", one) for one in uses), (
            uses
        )


def test_the_workflow_reads_only_and_audits_every_lock():
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    assert workflow["permissions"] == {"contents": "read"}
    audit = " ".join(step.get("run", "") for step in workflow["jobs"]["audit"]["steps"])
    assert "pip-audit" in audit and "requirements*.lock" in audit
    assert workflow["jobs"]["test"]["timeout-minutes"] >= 60


# --- code --------------------------------------------------------------------------------------------

RUNS_DATA = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "subprocess.getoutput",
    "subprocess.getstatusoutput", "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.full_load_all",
    "yaml.unsafe_load", "yaml.unsafe_load_all", "runpy.run_path", "torch.save", "torch.hub.load",
}  # fmt: skip
PICKLES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
UNSAFE_LOADERS = {"Loader", "UnsafeLoader", "FullLoader", "CLoader", "CUnsafeLoader", "CFullLoader"}
# A keyword, in a call or as the key of a dict, may have this value only.
ONLY = {
    "trust_remote_code": False,
    "shell": False,
    "allow_pickle": False,
    "weights_only": True,
    "safe_serialization": True,
    "save_safetensors": True,
    "use_safetensors": True,
}


def dotted(node):
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def unsafe(code):
    """Every way in this code by which data could become code: (line, what)."""
    found, tree = [], ast.parse(code)
    for node in ast.walk(tree):
        named = []
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            named = [(word.arg, word.value) for word in node.keywords]
            if name in RUNS_DATA or name.partition(".")[0] in PICKLES or name.endswith("state_dict_from_url"):
                found.append((node.lineno, name))
            if name == "torch.load" and "weights_only" not in dict(named):
                found.append((node.lineno, name))
        elif isinstance(node, ast.Dict):
            keys = [
                (getattr(key, "value", None), value)
                for key, value in zip(node.keys, node.values, strict=True)
            ]
            named = [(key, value) for key, value in keys if isinstance(key, str)]
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported = {f"{node.module}.{one.name}" for one in node.names}
            bad = imported & RUNS_DATA or (node.module in PICKLES and imported) or imported & {"torch.load"}
            found += [(node.lineno, name) for name in bad]
        elif isinstance(node, ast.Import):
            found += [
                (node.lineno, f"{one.name} as") for one in node.names if one.asname and one.name in PICKLES
            ]
        elif isinstance(node, ast.Attribute) and node.attr in UNSAFE_LOADERS and dotted(node.value) == "yaml":
            found.append((node.lineno, dotted(node)))
        found += [
            (value.lineno, f"{name}={ast.unparse(value)}")
            for name, value in named
            if name in ONLY and not (isinstance(value, ast.Constant) and value.value is ONLY[name])
        ]
    return found


@pytest.mark.parametrize(
    "code",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=not safe)",
        "from torch import load",
        "torch.hub.load_state_dict_from_url(url)",
        "import pickle\npickle.loads(text)",
        "from pickle import loads",
        "import pickle as p",
        "joblib.load(path)",
        "numpy.load(path, allow_pickle=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "options = {'trust_remote_code': remote}",
        "subprocess.run(command, shell=True)",
        "os.system(command)",
        "eval(text)",
        "exec(text)",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "loader = yaml.Loader",
        "model.save_pretrained(path, safe_serialization=False)",
    ],
)
def test_a_way_from_data_to_code_is_seen(code):
    assert unsafe(code)


def test_no_data_becomes_code_in_the_product():
    found = {
        (str(path.relative_to(ROOT)), *one)
        for folder in ("lib", "scripts", "demo")
        for path in (ROOT / folder).rglob("*.py")
        for one in unsafe(path.read_text())
    }
    assert found == set()


def test_nothing_that_is_fetched_is_piped_into_a_shell_nor_trusted_to_bring_code():
    pages = [ROOT / "README.md", ROOT / "Makefile", ROOT / ".ci/run", *(ROOT / "docs").glob("*.md")]
    pages += [path for folder in ("lib", "scripts", "demo") for path in (ROOT / folder).rglob("*.*")]
    for path in pages:
        if path.suffix in {".py", ".md", ".html", ".sh", ""}:
            text = path.read_text()
            assert not re.search(r"(curl|wget)[^\n|]*\|\s*(sudo\s+)?(ba|z)?sh\b", text), path
            assert not re.search(r"--trust[-_]remote[-_]code", text), path
