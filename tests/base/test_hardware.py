"""The machine and its packages, with other machines' programs in PATH and other machines as records."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lib.base.findings import WIDTH, Finding, machine_findings, package_findings, table
from lib.base.hardware import Machine, idle_cores, nvidia_cards, this_machine
from lib.base.installed import Installed, installed

ROOT = Path(__file__).parents[2]
LINUX = Machine("Linux", "", "x86_64", (3, 12, 4), "GNU Make 4.3", 100.0, 32.0)
MAC = replace(LINUX, system="Darwin", release="15.1", processor="arm64", make="GNU Make 3.81")


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """nvidia_smi(shell) puts one into PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def program(shell):
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{shell}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)

    return program


def test_cards_are_read_from_nvidia_smi(nvidia_smi):
    nvidia_smi('echo "NVIDIA A40, 46068"; echo "NVIDIA GeForce RTX 4090, 24564"')
    cards, problem = nvidia_cards()
    assert [card.name for card in cards] == ["NVIDIA A40", "NVIDIA GeForce RTX 4090"]
    assert cards[0].memory_gb == pytest.approx(48.3, abs=0.1)
    assert problem is None


@pytest.mark.parametrize(
    "shell",
    ["exit 9", "echo 'NVIDIA-SMI has failed because it could not communicate'; exit 9", "echo", "kill -9 $$"],
)
def test_a_driver_that_fails_is_a_problem_and_not_an_absent_card(nvidia_smi, shell):
    nvidia_smi(shell)
    cards, problem = nvidia_cards()
    assert cards == ()
    assert "nvidia-smi" in problem


def test_without_nvidia_smi_there_is_no_card_and_no_problem(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia_cards() == ((), None)
    assert this_machine(tmp_path).make is None


def test_this_machine_is_one_that_the_tests_run_on(tmp_path):
    here = this_machine(tmp_path)
    assert here.python_problem is None and here.system_problem is None
    assert here.memory_gb > 0.5 and here.disk_gb > 0


@pytest.mark.parametrize(
    "machine, is_refused",
    [
        (LINUX, False),
        (replace(LINUX, processor="aarch64"), False),
        (replace(LINUX, processor="armv7l"), True),
        (replace(LINUX, processor="riscv64"), True),
        (MAC, False),
        (replace(MAC, release="14.0"), False),
        (replace(MAC, release="13.7.1"), True),
        (replace(MAC, release="10.16"), True),
        (replace(MAC, processor="x86_64"), True),
        (replace(LINUX, system="FreeBSD", processor="amd64"), True),
    ],
)
def test_a_machine_without_a_wheel_of_torch_is_refused_in_a_sentence(machine, is_refused):
    found = machine_findings(machine)[0]
    assert (found.state, bool(found.fix)) == (("no", True) if is_refused else ("ok", False))


@pytest.mark.parametrize(
    "version, state", [((3, 10, 9), "no"), ((3, 11, 0), "ok"), ((3, 13, 5), "ok"), ((3, 14, 0), "no")]
)
def test_only_three_pythons_fit(version, state):
    assert machine_findings(replace(LINUX, python=version))[1].state == state


def test_packages_are_compared_with_the_file_and_a_local_build_counts_as_its_version(tmp_path):
    path = tmp_path / "requirements.txt"
    lines = [
        "# a comment",
        "pytest>=1  # why",
        "no-such-package==1",
        "pydantic<1",
        "x==1; python_version<'3'",
    ]
    path.write_text("\n".join(lines))
    found = {one.name: (one.version is not None, one.fits) for one in installed(path)}
    assert found == {"pytest": (True, True), "no-such-package": (False, False), "pydantic": (True, False)}
    assert all(one.fits for one in installed(ROOT / "requirements.txt") if one.name == "torch")


def test_missing_packages_of_this_machines_file_stop_and_those_of_the_other_do_not():
    packages = [Installed("torch", "==2", None, False), Installed("peft", "==1", "0.9", False)]
    files = {"requirements.txt": packages, "requirements-runpod.txt": packages}
    laptop = package_findings(files, "requirements.txt")
    assert [(one.state, one.fix) for one in laptop] == [("no", "make setup"), ("-", "")]
    assert laptop[0].said == "not installed: torch; other versions: peft 0.9 instead of ==1"
    pod = package_findings(files, "requirements-runpod.txt")
    assert [(one.state, one.fix) for one in pod] == [("-", ""), ("no", "make setup-runpod")]


@pytest.mark.parametrize(("memory_gb", "state"), [(4.0, "-"), (5.9, "-"), (6.0, "ok"), (64.0, "ok")])
def test_little_memory_is_said_and_keeps_nobody_from_working(memory_gb, state):
    found = machine_findings(replace(LINUX, memory_gb=memory_gb))
    assert [one.state for one in found if one.name == "memory"] == [state]
    assert all(one.state != "no" for one in found)


@pytest.mark.parametrize(
    ("n", "said"), [(4, "p0, p1, p2, p3"), (5, "p0, p1, p2, p3 and 1 more"), (9, "p0, p1, p2, p3 and 5 more")]
)
def test_four_packages_are_named_and_the_others_counted(n, said):
    missing = [Installed(f"p{number}", "==2", None, False) for number in range(n)]
    [found] = package_findings({"requirements.txt": missing}, "requirements.txt")
    assert found.said == f"not installed: {said}"


def test_the_table_is_aligned_and_at_most_80_columns_wide():
    names = ["one", "requirements of a long name"]
    shown = table([Finding(name, "?", "word " * 40, "do " * 40) for name in names]).splitlines()
    assert max(map(len, shown)) <= WIDTH
    assert {line.index("word") for line in shown if "word" in line} == {6 + len(names[1]) + 2}


@pytest.mark.parametrize("limit, gb", [("1000000000\n", 1.0), ("max\n", None), (str(2**60), None)])
def test_a_containers_limit_of_memory_counts_where_it_is_less_than_the_machines(
    tmp_path, monkeypatch, limit, gb
):
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    (tmp_path / "memory.max").write_text(limit)
    monkeypatch.setattr(
        "lib.base.hardware.CGROUP_LIMITS", (str(tmp_path / "memory.max"), str(tmp_path / "none"))
    )
    assert this_machine(tmp_path).memory_gb == pytest.approx(gb or whole)


@pytest.mark.parametrize("load, idle", [(0.1, 8), (3.4, 5), (7.9, 1), (30.0, 1)])
def test_threads_are_only_as_many_as_cores_that_nobody_uses(monkeypatch, load, idle):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    assert idle_cores() == idle
