"""Generated pages and tables: the same results give the same bytes, whoever builds, however many there are."""

from __future__ import annotations

import csv
import inspect
import io
import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from itertools import product
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from tests.leaderboard.builder import commit, copy_of, edited, made_up
from uadbench.errors import InputError
from uadbench.leaderboard import render
from uadbench.leaderboard.boards import Board, boards
from uadbench.leaderboard.committing import GENERATED, differences, generated, stale, with_head
from uadbench.leaderboard.entries import RESULTS, Entry, read_entries, result_path
from uadbench.results.scores import score_hash
from uadbench.runtime.files import content_hash
from uadbench.runtime.parts import PART

MARKS = f"# Title\n\n{render.BEGIN}\nold\n{render.END}\n\nThe rest.\n"


def build(root: Path) -> dict[str, bytes]:
    """Write everything that is generated; its bytes by path."""
    written = {}
    for file, text in generated(root)[1].items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        written[file.relative_to(root).as_posix()] = file.read_bytes()
    return written


@pytest.fixture(scope="module")
def several(committed, mean, tmp_path_factory) -> Path:
    """Two real models, and a made-up one with options, seeds, and a result that stands apart."""
    root = copy_of(committed, tmp_path_factory.mktemp("several") / "leaderboard")
    for latent in (64, 128):
        for seed in (0, 1, 2):
            made_up(root, mean, "net", 0.001 * latent, options={"latent": latent}, seed=seed, sound=False)
    made_up(root, mean, "old", sound=False, cohort__version="1", provenance__finished="2001-01-01T00:00:00+00:00")
    return root


def test_a_second_build_gives_the_same_bytes(several) -> None:
    first = build(several)
    assert build(several) == first
    assert set(GENERATED) <= set(first) and len(first) == 4 + 5
    assert differences(generated(several)[1], several) == []


def test_the_order_in_which_files_were_written_does_not_matter(several, tmp_path) -> None:
    """Nor does where they lie, nor what else lies there."""
    first = build(several)
    other = tmp_path / "elsewhere" / "board"
    for file in sorted(several.rglob("*"), reverse=True):
        if file.is_file() and (file.suffix == ".parquet" or file.parent.name == "protocols" or RESULTS in file.parts):
            target = other / file.relative_to(several)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    (other / RESULTS / "notes.txt").write_text("not a result")
    (other / "CHANGES").write_text("nor is this")
    assert build(other) == first


def test_another_process_gives_the_same_bytes(several) -> None:
    """With hashes of its own, in another folder and language; and it needs neither torch nor MLflow."""
    first = build(several)
    code = f"""
        import sys
        from pathlib import Path
        from uadbench.cli import leaderboard
        leaderboard.build(check=True, root=Path({str(several)!r}), readme=None)
        heavy = {{"torch", "mlflow", "nilearn", "nibabel", "sklearn", "matplotlib", "numba"}} & set(sys.modules)
        assert not heavy, heavy
        """
    environment = {"PYTHONHASHSEED": "7", "LC_ALL": "C", "TZ": "Asia/Tokyo", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", inspect.cleandoc(code)],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{several}: up to date ({len(first)} files)\n"


class Links(HTMLParser):
    """What a page refers to, and the data it holds."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.data = ""
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attributes}
        self.links += [told[name] for name in ("href", "src", "srcset", "action", "data", "poster") if name in told]
        self.ids += [told["id"]] if "id" in told else []
        self._inside = told.get("id") == "data"

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        self.data += data if self._inside else ""


def pages(root: Path) -> dict[str, str]:
    return {file.relative_to(root).as_posix(): text for file, text in generated(root)[1].items()}


def test_no_page_asks_the_network_for_anything(several) -> None:
    for name, page in pages(several).items():
        if not name.endswith(".html"):
            continue
        found = Links(page)
        assert all(not re.match(r"[a-z]*:?//", link) for link in found.links), found.links
        rest = page.replace(found.data, "").replace("http://www.w3.org/2000/svg", "")  # a name, not an address
        assert not re.search(r"https?:|//cdn|@import|url\((?!data:)|fetch\(|XMLHttpRequest|import\(|WebSocket", rest)
        assert "default-src 'none'" in page
        assert len(set(found.ids)) == len(found.ids)
        assert not re.search(r"<script[^>]+src|<link[^>]+stylesheet", page)


def test_every_link_leads_somewhere(several) -> None:
    made = pages(several)
    for name, page in made.items():
        found = Links(page)
        links = found.links + re.findall(r"\]\(([^)]+)\)", page) if name.endswith((".html", ".md")) else []
        if name == "index.html":
            links += [row["page"] for board in json.loads(found.data)["boards"] for row in board["rows"]]
        for link in links:
            if not link.startswith("data:"):
                parts: list[str] = []
                for part in (PurePosixPath(name).parent / link).parts:
                    parts = parts[:-1] if part == ".." else [*parts, part]
                assert "/".join(parts) in made, f"{name} -> {link}"


def test_pages_and_tables_tell_the_same(several) -> None:
    made = pages(several)
    told = json.loads(made["leaderboard.json"])
    shown = json.loads(Links(made["index.html"]).data)["boards"]
    kept = [
        {**board, "rows": [{k: v for k, v in row.items() if k not in render.NOT_ON_INDEX} for row in board["rows"]]}
        for board in told["boards"]
    ]
    assert shown == kept
    rows = list(csv.DictReader(io.StringIO(made["leaderboard.csv"])))
    flat = [(board, row) for board in told["boards"] for row in board["rows"]]
    assert len(rows) == len(flat) == 5
    for line, (board, row) in zip(rows, flat, strict=True):
        assert (line["name"], line["protocol"], line["apart"]) == (row["name"], board["protocol"], board["apart"])
        assert [float(line[key]) for key in ("ap", "ap_low", "ap_high")] == row["ap"]
        assert [int(line["rank_low"]), int(line["rank_high"])] == row["rank"]
        assert line["damage"] == ("" if row["damage"] is None else str(row["damage"]))
        page = json.loads(Links(made[row["page"]]).data)
        assert page["boards"][0]["rows"] == [row] and page["model"] == row["name"]
        assert f"{row['ap'][0]:.3f} [{row['ap'][1]:.3f}, {row['ap'][2]:.3f}]" in made["README.md"]


def test_a_row_tells_what_its_results_do(several) -> None:
    (newest, _) = boards(list(read_entries(several)), several)
    told = json.loads(pages(several)["leaderboard.json"])["boards"][0]
    row = next(each for each in told["rows"] if each["name"] == "mean")
    result = next(each for each in newest.rows if each.name == "mean").result
    assert row["curves"]["ad"][0][0] == pytest.approx(result.metric("ad", 0.3, "ap.standard"), abs=1e-3)
    assert row["damage"] == pytest.approx(
        sum(result.metric(name, 0.3, "damage") or 0 for name in result.dementias) / len(result.dementias), rel=1e-3
    )
    assert row["parameters"] == result.cost.parameters
    assert row["inference"] == pytest.approx(1000 * (result.cost.inference_seconds_per_scan or 0), rel=1e-3)
    assert told["chance"] == pytest.approx(result.headline.prevalence, rel=1e-3)
    assert row["matched"] is None, "smoke has too few test participants"


# --- what is out of date


def test_differences_name_what_is_out_of_date(several, tmp_path) -> None:
    root = copy_of(several, tmp_path / "board")
    build(root)
    wanted = generated(root)[1]
    page = root / "models" / "smoke-phantom" / "mean.html"
    text = page.read_text()
    page.write_text(text.replace("ranking AP", "ranking ap", 1))
    lines = differences(wanted, root)
    assert lines[0] == f"--- {page}" and any(line.startswith("-") and "ranking ap" in line for line in lines[2:])
    page.unlink()
    lines = differences(wanted, root)
    assert f"+++ {page} (built)" in lines
    page.write_text(text)
    (root / "models" / "smoke-phantom" / "gone.html").write_text("x")
    assert stale(root, wanted) == [root / "models" / "smoke-phantom" / "gone.html"]
    assert differences(wanted, root) == [
        f"{root / 'models' / 'smoke-phantom' / 'gone.html'}: page of a model that is no longer on a board"
    ]


def test_differences_are_of_bytes(several, tmp_path) -> None:
    root = copy_of(several, tmp_path / "board")
    build(root)
    page = root / "index.html"
    page.write_bytes(page.read_bytes().replace(b"\n", b"\r\n"))
    assert differences(generated(root)[1], root)


def test_a_page_that_is_no_text_is_out_of_date(several, tmp_path) -> None:
    root = copy_of(several, tmp_path / "board")
    build(root)
    (root / "index.html").write_bytes(b"\xff\xfe")
    assert differences(generated(root)[1], root)


# --- the project's README


def test_the_head_stands_between_its_marks(several, tmp_path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(MARKS)
    found = boards(list(read_entries(several)), several)
    text = with_head(readme, found)
    assert text.startswith(f"# Title\n\n{render.BEGIN}\n") and text.endswith(f"\n{render.END}\n\nThe rest.\n")
    assert "\nold\n" not in text and "**mean**" in text and "](leaderboard/README.md)" in text
    readme.write_text(text)
    assert with_head(readme, found) == text
    assert "No results yet." in with_head(readme, [])


def test_the_head_shows_its_rows_and_columns(several, mean, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "HEAD_ROWS", 10)
    root = copy_of(several, tmp_path / "board")
    for number in range(9):
        made_up(root, mean, f"more{number}", sound=False)
    head = render.head(boards(list(read_entries(root)), root))
    table = [line for line in head.splitlines() if line.startswith("| ")]
    assert len(table) == 1 + 10
    assert {line.count("|") - 1 for line in table} == {6}
    assert "3 more rows" in head
    whole = pages(root)["README.md"].splitlines()
    shown = [[cell.strip() for cell in line.strip("|").split("|")] for line in whole if line.startswith("| ")]
    for line in table:  # a cell of the head is that of the full table
        first, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        row = next(row for row in shown if row[2] == cells[1])
        assert row[0] == first and set(cells) <= set(row)


@pytest.mark.parametrize(
    "text", ["", "# Title\n", render.BEGIN, render.END, f"{render.END}\n{render.BEGIN}\n"], ids=ascii
)
def test_a_readme_without_marks_says_so(text: str, several, tmp_path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(InputError, match=r"README\.md: .*'<!-- leaderboard: begin -->' and"):
        with_head(readme, [])


# --- many


def many(root: Path, mean: Entry, models: int, seeds: int) -> None:
    """Models of a quality of their own, trained with several seeds; written without much ado, for there are many."""
    text, table = mean.file.read_text(encoding="utf-8"), mean.scores()
    for number, seed in product(range(models), range(seeds)):
        name, key = f"model-{number:03d}", content_hash(number, seed)
        own = text.replace('"name":"mean"', f'"name":"{name}"').replace('"seed":0', f'"seed":{seed}')
        result = mean.result.model_copy(
            update={"model": mean.result.model.model_copy(update={"name": name}), "seed": seed, "fit_key": key}
        )
        file = root / RESULTS / result_path(result)
        file.parent.mkdir(parents=True, exist_ok=True)
        off = -0.4 + 0.6 * number / models + 0.05 * np.random.default_rng([number, seed]).standard_normal(len(table))
        moved = table.assign(**{name: (table[name] + off).clip(0, 1) for name in ("ap.standard", "ap.native")})
        moved.to_parquet(file.with_suffix(".parquet"), index=False)
        own = own.replace(mean.result.fit_key, key).replace(mean.result.score_hash, score_hash(moved))
        file.write_text(own, encoding="utf-8")


def with_nine_severities(board: Board) -> Board:
    """The board as one of the quick protocol would be shown."""
    severities = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7)

    def full(entry: Entry) -> Entry:
        graded = [scores for scores in entry.result.scores if scores.severity == 0.3 and scores.anomaly != "hyper"]
        more = [scores.model_copy(update={"severity": severity}) for scores in graded for severity in severities]
        return replace(entry, result=entry.result.model_copy(update={"scores": more}))

    return replace(board, rows=tuple(replace(row, entries=tuple(map(full, row.entries))) for row in board.rows))


def built(root: Path, mean: Entry, models: int, seeds: int) -> tuple[float, list[Board], dict[Path, str]]:
    """A leaderboard of so many models: seconds of this process to generate it, its boards and its files."""
    many(root, mean, models, seeds)
    started = time.process_time()  # what else the machine does is not counted
    found, made = generated(root)
    return time.process_time() - started, found, made


@pytest.mark.slow
@pytest.mark.parametrize(("models", "seeds"), [(100, 5), pytest.param(500, 1, marks=pytest.mark.slow)])
def test_five_hundred_results(models: int, seeds: int, mean, tmp_path) -> None:
    """Five times as many models take about five times as long: nearer to it than to the square."""
    before, *_ = built(tmp_path / "few", mean, models // 5, seeds)
    root = tmp_path / "many"
    took, found, made = built(root, mean, models, seeds)
    assert len(made) == 4 + models and len(found) == 1
    size = len(made[root / "index.html"].encode())
    larger = len(render.files([with_nine_severities(found[0])])["index.html"].encode())
    print(f"{models} models x {seeds} seeds: {took:.1f} s, index.html {size:,} bytes, of quick {larger:,}")
    assert took / before < 5**1.5
    assert size < larger < 1_000_000


def test_what_a_killed_write_left_is_not_read(several, tmp_path) -> None:
    """`build` refused for good after a kill -9 in `add`."""
    root = copy_of(several, tmp_path / "board")
    before = pages(root)
    leftover = next((root / RESULTS).rglob("*.json")).parent / f"{PART}1a2b"
    leftover.mkdir()
    (leftover / "fold0-seed0.json").write_text("{")
    assert pages(root) == before


def test_no_results_build_too(tmp_path) -> None:
    (tmp_path / RESULTS).mkdir()
    made = pages(tmp_path)
    assert set(made) == set(GENERATED) and "No results yet" in made["index.html"]


def test_a_result_changes_only_what_it_is_on(several, mean, tmp_path) -> None:
    root = copy_of(several, tmp_path / "board")
    before = pages(root)
    commit(root, edited(mean.result, cohort__name="phantom:seed=7"), mean.scores())
    after = pages(root)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == set(GENERATED)
    assert set(after) - set(before) == {"models/smoke-phantom-seed-7/mean.html"}
