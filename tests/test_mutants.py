"""The list of mutations is about the code as it is; `make mutants` tries them out."""

import ast
import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path

from tests import mutants

ROOT = Path(__file__).parents[1]
LISTED = mutants.mutations(mutants.LISTS)


def test_no_mutation_is_stale():
    assert [f"{one.room}: {one.says}" for one in LISTED if not one.fits()] == []


def test_every_room_has_mutations_and_all_are_150_or_more():
    rooms = {path.name for path in (ROOT / "lib").iterdir() if (path / "__init__.py").is_file()}
    assert {one.room for one in LISTED} == {*rooms, "demo", "scripts"}  # scripts: the Makefile's rules, too
    assert len(LISTED) >= 150
    assert [
        says for says, n in Counter((one.file, one.old, one.new) for one in LISTED).items() if n > 1
    ] == []


def test_a_mutated_file_is_still_a_program_and_its_tests_are_there():
    for one in LISTED:
        assert one.old != one.new, one.says
        if one.file.endswith(".py"):
            ast.parse((ROOT / one.file).read_text(encoding="utf-8").replace(one.old, one.new))
        assert all((ROOT / word).is_file() for word in shlex.split(one.tests) if word.endswith(".py")), (
            one.says
        )


def test_a_list_that_has_moved_on_is_told():
    one = LISTED[0]
    assert one.fits() and not replace(one, old="x" * 99).fits() and not replace(one, old="\n").fits()


def test_the_table_counts_by_room_and_names_who_lived():
    one, two = replace(LISTED[0], room="a", says="it holds"), replace(LISTED[0], room="b", says="it adds up")
    shown = mutants.table(
        [(one, "killed"), (two, "survived"), (replace(two, lives="by chance"), "not tried")]
    )
    assert "| a | 1 | 1 | 100% |\n| b | 2 | 0 | 0% |\n| all | 3 | 1 | 33% |" in shown
    assert f"- b, `{two.file}`: it adds up (no test yet)" in shown
    assert f"- b, `{two.file}`: it adds up (by chance)" in shown
