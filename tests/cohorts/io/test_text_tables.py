"""Tables as text: every row is there, under its own line number, or the file is refused with what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uadbench.cohorts.io.text_tables import column, read_table, rows_of
from uadbench.errors import InputError


def read(folder: Path, name: str, content: str | bytes) -> dict[int, list[str]]:
    """Line number -> cells."""
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return {line: list(row.values()) for line, row in rows_of(read_table(file))}


def test_quotation_marks_in_a_tsv_lose_no_row(tmp_path):
    """Ditto marks and an unclosed quotation made 19 rows of 30."""
    rows = [f"sub-{number}\t{cell}\tCN" for number, cell in enumerate(['"', '"tired', "x", 'said "no"', '"'] * 6)]
    found = read(tmp_path, "t.tsv", "id\tnote\tdx\n" + "\n".join(rows))
    assert [cells[0] for cells in found.values()] == [f"sub-{number}" for number in range(30)]
    assert found[2][1] == '"' and found[3][1] == '"tired'


def test_quotations_around_whole_cells_are_taken_off(tmp_path):
    assert read(tmp_path, "t.tsv", '"id"\t"dx"\n"sub-1"\t"said ""no"""\n') == {2: ["sub-1", 'said "no"']}


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("a.tsv", 'id\tnote\tdx\ns1\t"first\nsecond"\tCN\n', "lines 2 and 3"),
        ("a.tsv", 'id\tnote\ns1\t"first\nsecond"\n', "lines 2 and 3"),
        ("a.csv", 'id,note,dx\ns1,"first\nsecond",CN\n', "line 2, column 'note'"),
        ("a.csv", 'id,note,dx\ns1,",CN\ns2,",AD\n', "line 2, column 'note'"),
        ("a.csv", 'id,a,b,dx\ns1,",CN,"\n', "line 2 has 2 of 4 cells"),
    ],
)
def test_a_line_break_or_an_open_quotation_in_a_cell_is_refused(name, text, where, tmp_path):
    with pytest.raises(InputError, match=where):
        read(tmp_path, name, text)


def test_a_blank_after_the_comma_and_commas_in_quotations(tmp_path):
    assert read(tmp_path, "t.csv", 'id, note\ns1, "a, b"\n') == {2: ["s1", "a, b"]}


def test_line_numbers_are_the_files_own_and_blank_rows_are_skipped(tmp_path):
    assert list(read(tmp_path, "t.tsv", "\nid\tdx\n\ns1\tCN\n\t\n \t \ns2\tAD\n\t\t\t\n")) == [4, 7]
    assert list(read(tmp_path, "t.csv", "id,dx\n,\n\ns1,CN\n,,,\n")) == [4]
    with pytest.raises(InputError, match="line 6 has 3 cells"):
        read(tmp_path, "t.tsv", "id\tdx\n\n\n\ns1\tCN\ns2\tAD\tx\n")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_way_to_end_a_line(end, tmp_path):
    assert read(tmp_path, "t.tsv", end.join(["id\tdx", "s1\tCN", "s2\tAD"])) == {2: ["s1", "CN"], 3: ["s2", "AD"]}


def test_separators_of_unicode_end_no_line(tmp_path):
    assert read(tmp_path, "t.tsv", "id\tnote\ns1\ta\u2028b\x0bc\x85d\n") == {2: ["s1", "a\u2028b\x0bc\x85d"]}


def test_long_ids_stay_text(tmp_path):
    assert read(tmp_path, "t.tsv", "id\tage\n0012345678901234567890\t070\n") == {2: ["0012345678901234567890", "070"]}


def test_short_rows_are_filled_and_columns_without_a_name_left_out(tmp_path):
    assert read(tmp_path, "t.tsv", "\tid\tdx\tage\n0\ts1\n1\ts2\tCN\t70\n") == {
        2: ["s1", "", ""],
        3: ["s2", "CN", "70"],
    }


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "id;dx\ns1;CN\n", "semicolons.*TSV"),
        ("a.csv", "sep=;\nid;dx\n", "Excel"),
        ("a.csv", "id\tdx\ns1\tCN\n", r"tabs.*name it \.tsv"),
        ("a.tsv", "id,dx\ns1,CN\n", r"commas.*name it \.csv"),
        ("a.tsv", "id dx\ns1 CN\n", "blanks"),
        ("a.tsv", "id\tdx\n".encode("utf-16"), "UTF-16"),
        ("a.csv", "id,dx\nJosé,CN\n".encode("latin-1"), "line 2 .*0xe9.*UTF-8"),
        ("a.tsv", b"PK\x03\x04rest", "spreadsheet"),
        ("a.tsv", b"\x1f\x8brest", "compressed"),
        ("a.tsv", "Age\tage\n1\t2\n", "'Age' and 'age'"),
        ("a.tsv", "id\tx\tx\n", "two columns 'x'"),
        ("a.tsv", "", "is empty"),
        ("a.tsv", "\n\t\n", "is empty"),
    ],
)
def test_what_is_no_such_table_is_named(name, content, said, tmp_path):
    with pytest.raises(InputError, match=said) as caught:
        read(tmp_path, name, content)
    assert str(caught.value).startswith(str(tmp_path / name)) and "\n" not in str(caught.value)


def test_a_column_is_found_in_any_letters(tmp_path):
    (tmp_path / "t.csv").write_text("Path, Dx\na.nii, CN\n")
    table = read_table(tmp_path / "t.csv")
    with pytest.raises(InputError, match="PATH:image=COLUMN"):
        column(tmp_path, table, "scan", "image")
    assert column(tmp_path, table, "path") == "Path" and column(tmp_path, table, "DX") == "Dx"
    with pytest.raises(InputError, match="no column 'paht'; did you mean 'Path'"):
        column(tmp_path, table, "paht")


CELL = st.text(st.characters(blacklist_characters="\t\r\n\0", blacklist_categories=["Cs"]), min_size=1, max_size=8)


@given(st.lists(st.tuples(CELL, CELL), max_size=6))
def test_no_row_of_a_tsv_is_ever_lost(tmp_path_factory, rows):
    """Whatever the cells: as many rows as lines that are not blank, or a refusal that names lines."""
    folder = tmp_path_factory.mktemp("rows")
    text = "id\tnote\n" + "".join(f"s{number}\t{one} {other}\n" for number, (one, other) in enumerate(rows))
    assert len(read(folder, "t.tsv", text)) == len(rows)
