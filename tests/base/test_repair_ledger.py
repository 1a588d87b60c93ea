"""A ledger of a set under repair: what lies in raw/ explains a damaged line, and a batch is no unit."""

from lib.base.ledger import JUDGE, Ledger
from lib.base.repair_ledger import Book, repair_set
from tests.collect.test_purchase import Shop, set_of, wanted  # noqa: F401


def repaired(folder, n_damaged):
    """What is said after the last n lines of the ledger have become zeros."""
    path = folder / "ledger.jsonl"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"".join(line + b"\n" for line in [*lines[:-n_damaged], *[b"\0" * 300] * n_damaged]))
    said = []
    repair_set(folder, said.append)
    return "\n".join(said)


def test_a_damaged_line_that_a_file_of_raw_explains_is_not_doubted(set_of, tmp_path):  # noqa: F811
    set_of(Shop()).buy(wanted("a"))
    said = repaired(tmp_path, 1)
    assert "is booked again, $0.1000" in said and "may have been paid" not in said
    assert Ledger(tmp_path / "ledger.jsonl").spent_usd() == 0.1


def test_a_damaged_line_that_nothing_explains_counts_as_paid_at_its_worst(set_of, tmp_path):  # noqa: F811
    set_of(Shop()).buy(wanted("a", "b"))
    for path in (tmp_path / "raw").glob("*"):
        path.unlink()
    assert "2 runs may have been paid for, up to $0.20" in repaired(tmp_path, 2)


def test_what_a_unit_costs_at_most_is_not_what_a_batch_of_them_does(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append("intent", f"{'a' * 64}-0", JUDGE, note={"worst_usd": 0.1})
    ledger.append("intent", "batch-1", JUDGE, note={"worst_usd": 90.0})
    assert Book(ledger.path, JUDGE).worst_usd() == 0.1
