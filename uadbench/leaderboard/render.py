"""Rendering of boards: web pages, Markdown tables, CSV and JSON. The same boards give the same bytes.

Pages load nothing from other sites, so the script `templates/board.js` draws the plots itself; a chart library would
have to be copied into every page.
"""

from __future__ import annotations

import csv
import html
import io
import json
import shlex
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from uadbench.leaderboard.boards import (
    Board,
    Row,
    auroc,
    lowest_ranked,
    over_runs,
    patient_groups,
    patients,
)
from uadbench.leaderboard.columns import AUROC, BOARD, heading
from uadbench.report.words import effective_share, share
from uadbench.results.near_ideal import near_ideal
from uadbench.results.schema import Result
from uadbench.runtime.text import escaped, in_csv, in_markdown, on_page
from uadbench.stats.bootstrap import Interval
from uadbench.stats.paired import ONE_TRAINING
from uadbench.types import UNSEEN

if TYPE_CHECKING:
    from jinja2 import Environment

BEGIN, END = "<!-- leaderboard: begin -->", "<!-- leaderboard: end -->"
"""Marks in the project's README between which the top of the first board is inserted."""

HEAD_ROWS = 8
"""Rows shown in the project's README."""
HEAD_COLUMNS = ("rank", "model", "ap", "unseen", "matched", "patients")
"""Columns shown in the project's README; the board shows every key of `COLUMNS`."""

NOT_ON_INDEX = ("aurocUnseen", "healthyMse", "train", "threads", "processors")
"""Values of `leaderboard.json` that the page does not show, and therefore does not contain."""

STABILITY = (
    "How much the order depends on what is scored: Kendall's tau with the order by ranking AP (1: the same, -1: "
    "reversed), and the model that would be first."
)
"""Explains the table of `stability`."""

LONGEST_PROCESSOR = 100
"""Characters of a processor's name that are kept; the name comes from a result that a stranger may have written."""

Fields = dict[str, Any]


def files(boards: Sequence[Board]) -> dict[str, str]:
    """Render all generated files.

    Args:
        boards: The boards.

    Returns:
        The content of each file, by its path in the leaderboard folder.
    """
    described = [_described(board) for board in boards]
    contents = {
        "index.html": _index(described),
        "README.md": markdown(boards, described),
        "leaderboard.json": escaped(json.dumps({"boards": described}, indent=1, ensure_ascii=False)) + "\n",
        "leaderboard.csv": _csv(described),
    }
    for board, content in zip(boards, described, strict=True):
        for row, values in zip(board.rows, content["rows"], strict=True):
            contents[values["page"]] = _model_page(board, row, content, values)
    return contents


def head(boards: Sequence[Board]) -> str:
    """The table for the project's README: the first rows of the first board, as Markdown."""
    if not boards:
        return "No results yet."
    content = _described(boards[0])
    lines = [f"{content['title']}. {content['about']}", "", *_table(content["rows"][:HEAD_ROWS], HEAD_COLUMNS)]
    left = len(content["rows"]) - HEAD_ROWS
    more = f"{left} more rows and " if left > 0 else ""
    return "\n".join([*lines, "", f"The [full leaderboard](leaderboard/README.md) has {more}every column."])


def _described(board: Board) -> Fields:
    """A board as JSON values, for programs and for the page."""
    result = board.result
    severities = result.severities
    testsets = [*result.dementias, UNSEEN]
    cohort = result.cohort
    ranking = ", ".join(f"{severity:.0%}" for severity in result.headline.severities)
    reference = near_ideal(result, [row.result for row in board.rows])
    about = (
        f"Ranking AP averages severities {ranking}; chance level {_short(result.headline.prevalence)}"
        f"{f', {reference}' if reference else ''}; the effective reduction in the dementias is "
        f"{share(effective_share(result, result.dementias))} of the severity. {cohort.test} healthy test participants, "
        f"{cohort.patients} patients, grid and scale of protocol {board.protocol} version {result.protocol.version}. "
        "Intervals are 95 % intervals over participants and, if there are several, seeds."
    )
    if reference:
        about += f" {reference.meaning}"
    if board.conditional:
        about += f" Ranks hold for these trainings only: {ONE_TRAINING}."
    version = f" · version {result.protocol.version}, {result.testset.recipe[:8]}" if board.apart else ""
    fields = {
        "id": board.slug,
        "title": f"{board.protocol} · {board.cohort}{version}",
        "protocol": board.protocol,
        "protocolVersion": result.protocol.version,
        "protocolHash": result.protocol.hash,
        "ranked": result.protocol.ranked,
        "cohort": board.cohort,
        "cohortVersion": cohort.tested_version or cohort.version,
        "testset": result.testset.recipe,
        "apart": board.apart,
        "about": about,
        "severities": severities,
        "effective": {name: _rounded(effective_share(result, [name])) for name in testsets},
        "lowest": lowest_ranked(result),
        "testsets": testsets,
        "chance": _rounded(result.headline.prevalence),
        "nearIdeal": _rounded(reference.ap if reference else None),
        "stability": [{"name": each.name, "tau": round(each.tau, 2), "first": each.first} for each in board.stability],
    }
    return {**fields, "rows": [_row(board, row, severities, testsets) for row in board.rows]}


def _row(board: Board, row: Row, severities: Sequence[float], testsets: Sequence[str]) -> Fields:
    result = row.result
    at = max(result.headline.severities)
    lowest = lowest_ranked(result)
    inference = over_runs(row, lambda r: r.cost.inference_seconds_per_scan)
    made = [entry.result.provenance for entry, _ in row.runs]
    devices = sorted({each.device.partition(":")[0] for each in made})
    return {
        "name": row.name,
        "model": result.model.name,
        "rank": None if row.rank is None else list(row.rank),
        "ap": _bounds(row.parts["both"]),
        "dementias": _bounds(row.parts["dementias"]),
        "unseen": _bounds(row.parts["unseen"]),
        "native": _bounds(row.parts["native"]),
        "matched": _rounded(over_runs(row, lambda r: r.matched(at))),
        "recovered": _mean_of(row, "recovered", at),
        "damage": _mean_of(row, "damage", at),
        "healthiness": _ratio(row, at),
        "identified": _mean_of(row, "identified", at),
        "auroc": _rounded(over_runs(row, lambda r: _mean_or_none([auroc(r, name, lowest) for name in r.dementias]))),
        "aurocUnseen": _rounded(over_runs(row, lambda r: auroc(r, UNSEEN, lowest))),
        "patients": _rounded(over_runs(row, patients)),
        "patientGroups": {name: _rounded(value) for name, value in patient_groups(row).items()},
        "healthyMse": _rounded(over_runs(row, lambda r: r.headline.healthy_mse)),
        "parameters": result.cost.parameters,
        "train": _rounded(over_runs(row, lambda r: r.cost.train_seconds)),
        "inference": _rounded(None if inference is None else 1000 * inference),
        "cpuMinutes": _rounded(over_runs(row, lambda r: r.cost.cpu_minutes)),
        "device": ", ".join(devices),
        "threads": sorted({each.threads for each in made}),
        "processors": sorted({each.processor[:LONGEST_PROCESSOR] for each in made if each.processor}),
        "baseline": row.baseline,
        "reproduced": row.reproduced,
        "overBudget": row.over_budget,
        "failures": row.failures,
        "seeds": len({entry.result.seed for entry in row.entries}),
        "folds": len({entry.result.fold for entry in row.entries}),
        "curves": {name: [_point(row, name, severity) for severity in severities] for name in testsets},
        "page": f"models/{board.slug}/{row.slug}.html",
    }


def _point(row: Row, name: str, severity: float) -> list[float | None]:
    """Mean and interval bounds over participants for one test set, each averaged over runs."""
    parts = ("mean", "low", "high")
    estimates = [entry.result.estimate(name, severity, "ap.standard") for entry in row.entries]
    means = [_mean_or_none([None if e is None else getattr(e, part) for e in estimates]) for part in parts]
    return [None if mean is None else round(mean, 3) for mean in means]


def _mean_of(row: Row, metric: str, severity: float) -> float | None:
    """A metric's mean over dementias and runs; None if it is n/a for any of them."""
    return _rounded(over_runs(row, lambda r: _mean_or_none([r.metric(name, severity, metric) for name in r.dementias])))


def _ratio(row: Row, severity: float) -> float | None:
    """Healthiness of the reconstruction divided by that of the healthy scan."""
    restored = _mean_of(row, "healthiness.from_altered", severity)
    healthy = _mean_of(row, "healthiness.healthy", severity)
    return None if restored is None or not healthy else _rounded(restored / healthy)


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present and len(present) == len(values) else None


def _bounds(interval: Interval) -> list[float | None]:
    return [_rounded(interval.mean), _rounded(interval.low), _rounded(interval.high)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _whole(value: int | None) -> str:
    return "n/a" if value is None else f"{value:,}"


def _short(value: float | None) -> str:
    """Three significant digits, with trailing zeros."""
    if value is None:
        return "n/a"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


COLUMNS = {
    "rank": heading("rank"),
    "model": "model",
    "ap": f"{heading('ap')} [95 %]",
    **{key: heading(key) for key in ("dementias", "unseen", "native", "matched")},
    **{key: heading(key) for key in ("healthyMse", "recovered", "damage", "auroc", "patients")},
    **{key: heading(key) for key in ("parameters", "cpuMinutes", "inference")},
    "device": "device",
    "verified": "",
}
"""Column of a table of Markdown -> its heading."""


def _table(rows: Sequence[Fields], keys: Sequence[str] = tuple(COLUMNS)) -> list[str]:
    """Rows as the lines of a Markdown table with the columns `keys`."""
    lines = [f"| {' | '.join(COLUMNS[key] for key in keys)} |", "|" + "---|" * len(keys)]
    for row in rows:
        cells = _cells(row)
        lines.append(f"| {' | '.join(cells[key] for key in keys)} |")
    return lines


def _cells(row: Fields) -> dict[str, str]:
    """The text of each column of `COLUMNS`."""
    mean, low, high = row["ap"]
    interval = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    marks = [mark for mark in ("baseline" if row["baseline"] else "", row["failures"]) if mark]
    return {
        "rank": _rank(row["rank"], "–"),
        "model": f"**{in_markdown(row['name'])}**" + (f" ({', '.join(marks)})" if marks else ""),
        "ap": f"{_fixed(mean)}{interval}",
        **{key: _fixed(row[key][0]) for key in ("dementias", "unseen", "native")},
        **{key: _short(row[key]) for key in ("matched", "healthyMse", "recovered", "damage", "auroc")},
        "patients": _patients(row),
        "parameters": _whole(row["parameters"]),
        **{key: _short(row[key]) for key in ("cpuMinutes", "inference")},
        "device": in_markdown(row["device"]),
        "verified": ("reproduced" if row["reproduced"] else "self-reported")
        + (", over budget" if row["overBudget"] else ""),
    }


def _rank(rank: Sequence[int] | None, between: str) -> str:
    """A set of ranks; "none" for a model all of whose trainings failed."""
    if rank is None:
        return "none"
    first, last = rank
    return f"{first}" if first == last else f"{first}{between}{last}"


def _patients(row: Fields) -> str:
    """The AUROC of patients by diagnosis; of all patients if there is only one diagnosis."""
    groups = row["patientGroups"]
    texts = [f"{in_markdown(name)} {_short(value)}" for name, value in groups.items()]
    return ", ".join(texts) if len(groups) > 1 else _short(row["patients"])


def _fixed(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def markdown(boards: Sequence[Board], described: Sequence[Fields]) -> str:
    """Render all boards as Markdown, for the README of the leaderboard folder.

    Args:
        boards: The boards.
        described: The same boards as JSON values.

    Returns:
        The text of the file.
    """
    lines = [
        "# Leaderboard",
        "",
        "Generated by `uadbench leaderboard build` from the results in this folder. [index.html](index.html) has the "
        "same tables with sorting, plots and a page for every model.",
        "",
        "With a confidence of 95 %, all true ranks are in the sets of the column *rank*: from 1 + the number of models "
        "that are significantly better to the number of models that are not significantly worse (paired tests over "
        "participants and trainings, Holm-adjusted). *1 of 3 failed*: the reconstruction error of a training on "
        "healthy validation scans is not finite, or not 1 % below the mean image's; it does not count. *Reproduced*: "
        "the model was trained and evaluated again, and every metric agreed within its tolerance. *Self-reported*: not "
        "yet reproduced. *Over budget*: a run took more processor time than its protocol allows. *Answers in files*: "
        "the tool ran outside uadbench, which scored its output files and cannot run it again.",
    ]
    for board, content in zip(boards, described, strict=True):
        lines += ["", f"## {in_markdown(content['title'])}", ""]
        if board.apart:
            lines += [f"*Not comparable with newer results: {in_markdown(board.apart)}*", ""]
        lines += [_escaped_about(content["about"]), "", *_table(content["rows"]), *_stability(content["stability"])]
    return "\n".join(lines) + "\n"


def _stability(alternatives: Sequence[Fields]) -> list[str]:
    """The table of how much the order depends on what is scored; empty for fewer than three models."""
    if not alternatives:
        return []
    rows = [f"| {each['name']} | {each['tau']:.2f} | {in_markdown(each['first'])} |" for each in alternatives]
    return ["", STABILITY, "", "| scored instead | Kendall's tau | first |", "|---|---|---|", *rows]


def _escaped_about(text: str) -> str:
    return html.escape(text)


def _csv(described: Sequence[Fields]) -> str:
    """A CSV table with one row per board and model."""
    buffer = io.StringIO()
    names = [
        "name",
        "model",
        "rank_low",
        "rank_high",
        "ap",
        "ap_low",
        "ap_high",
        "dementias",
        "unseen",
        "native",
    ]
    rest = ["matched", "recovered", "damage", "healthiness", "identified", "auroc", "aurocUnseen", "patients"]
    rest += ["healthyMse", "parameters", "train", "inference", "device", "baseline", "reproduced", "overBudget"]
    rest += ["failures", "seeds", "folds"]
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["protocol", "protocol_hash", "cohort", "cohort_version", "testset", "apart", *names, *rest])
    for board in described:
        common = [board[key] for key in ("protocol", "protocolHash", "cohort", "cohortVersion", "testset", "apart")]
        for row in board["rows"]:
            parts = [row["dementias"][0], row["unseen"][0], row["native"][0]]
            own = [row["name"], row["model"], *(row["rank"] or (None, None)), *row["ap"], *parts]
            cells = [in_csv(value) for value in [*common, *own, *(row[key] for key in rest)]]
            writer.writerow(cells)
    return buffer.getvalue()


def _index(described: Sequence[Fields]) -> str:
    columns = {key: shown.to_json() for key, shown in BOARD.items()}
    shown = [{**board, "rows": [_on_index(row) for row in board["rows"]]} for board in described]
    return _page(
        "index.html", boards=described, data=_inlined({"boards": shown, "columns": columns, "stability": STABILITY})
    )


def _on_index(row: Fields) -> Fields:
    """The values of a row that the page shows; the data files have all."""
    return {name: value for name, value in row.items() if name not in NOT_ON_INDEX}


def _model_page(board: Board, row: Row, content: Fields, values: Fields) -> str:
    result = row.result
    alone = {**content, "rows": [values], "stability": []}
    columns = ("fold", "seed", heading("ap"), heading("train"), "training", "device", "score hash", "weights key")
    runs = [_run_line(entry.result, reason) for entry, reason in row.runs]
    return _page(
        "model.html",
        row=row,
        title=content["title"],
        ranks=_rank_sentence(board, row),
        details=_details(result, content, values),
        options=[(name, json.dumps(value)) for name, value in result.model.options.items()],
        command=command(row),
        run_columns=(*columns, "finished"),
        runs=runs,
        data=_inlined({"boards": [alone], "model": row.name, "training": _training(row)}),
    )


def _rank_sentence(board: Board, row: Row) -> str:
    if row.rank is None:
        return "No rank: all trainings failed."
    count = sum(each.rank is not None for each in board.rows)
    return f"Rank {_rank(row.rank, ' to ')} of {count} (simultaneous 95 % confidence sets)."


def _training(row: Row) -> list[Fields]:
    """The healthy validation error by epoch of every run that was trained with gradients."""
    return [
        {"fold": r.fold, "seed": r.seed, "errors": [_rounded(error) for error in r.training.validation_mse]}
        for r in (entry.result for entry, _ in row.runs)
        if r.training is not None and any(error for error in r.training.validation_mse)
    ]


def _details(result: Result, content: Fields, values: Fields) -> list[tuple[str, str]]:
    """Details of a model for its page: description, scores, cost, and the versions and hashes that identify it."""
    mean, low, high = values["ap"]
    interval = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    made = result.provenance
    packages = ", ".join(f"{name} {version}" for name, version in made.packages.items())
    outputs = "reconstruction and anomaly map" if result.model.reconstructs else "anomaly map only"
    return [
        ("paper", result.model.reference or "none"),
        ("output", outputs),
        (heading("ap"), f"{_fixed(mean)}{interval}"),
        (AUROC.heading, f"dementias {_short(values['auroc'])}, unseen {_short(values['aurocUnseen'])} at the lowest "
         f"ranking severity; patients {_patients(values)}"),
        (heading("parameters"), _whole(result.cost.parameters)),
        ("cost", f"training {_short(values['train'])} s, inference {_short(values['inference'])} ms per scan, on "
         f"{made.device} with {made.threads} threads, peak memory {result.cost.peak_memory_mib:.0f} MiB"),
        ("training precision", _training_precision(result)),
        ("made with", f"uadbench {made.uadbench} ({made.commit or 'no commit'}), Python {made.python}, {packages}"),
        ("cohort", f"{result.cohort.name} version {result.cohort.version}: {result.cohort.train} training scans, split "
         f"{result.cohort.split[:16]} ({result.cohort.origin})"),
        ("protocol", f"{content['protocol']} version {content['protocolVersion']}, hash {content['protocolHash']}"),
        ("test sets", content["testset"]),
        ("model code", made.model_source),
    ]  # fmt: skip


def _run_line(result: Result, reason: str) -> list[str]:
    finished = result.provenance.finished[:10]
    cost = "n/a" if result.cost.train_seconds is None else f"{result.cost.train_seconds:.0f}"
    device = result.provenance.device.partition(":")[0]
    numbers = [str(result.fold), str(result.seed), _fixed(result.headline.ap_standard), cost]
    training = f"failed: {reason}" if reason else "counts"
    return [*numbers, training, device, result.score_hash[:16], result.fit_key[:16], finished]


def _training_precision(result: Result) -> str:
    if result.model.answers is not None:
        return f"unknown: the tool ran outside uadbench, which scored its output files ({result.model.answers[:16]})"
    return result.training.precision if result.training else "closed form"


def command(row: Row) -> str:
    """The command that reproduces a row's runs."""
    result = row.result
    if result.model.answers is not None:
        return _exchange(row)
    cohort = result.cohort.name if result.cohort.public else "YOUR_COPY_OF_THE_COHORT"
    words = ["uadbench", "run", "--model", result.model.name, "--protocol", result.protocol.name, "--cohort", cohort]
    if result.cohort.tested_on is not None:
        words += ["--test-cohort", result.cohort.tested_on if result.cohort.public else "YOUR_COPY_OF_THE_TEST_COHORT"]
    for option, numbers in (
        ("--fold", {entry.result.fold for entry, _ in row.runs}),
        ("--seed", {entry.result.seed for entry, _ in row.runs}),
    ):
        words += [option, ",".join(map(str, sorted(numbers)))]
    for name, value in result.model.options.items():
        if value is not None:
            words += ["--set", f"{result.model.name}.{name}={value}"]
    return shlex.join(words)


def _exchange(row: Row) -> str:
    """The commands that export the test sets to an external tool and score its output."""
    result = row.result
    cohort = result.cohort.name if result.cohort.public else "YOUR_COPY_OF_THE_COHORT"
    lines = []
    for fold in sorted({entry.result.fold for entry, _ in row.runs}):
        made = ["--protocol", result.protocol.name, "--cohort", cohort, "--fold", str(fold)]
        lines.append(shlex.join(["uadbench", "testset", "export", f"fold{fold}", *made]))
        lines.append(shlex.join(["uadbench", "score", f"fold{fold}", "--name", result.model.name]))
    return "\n".join(lines)


def _page(template: str, **values: Any) -> str:
    from markupsafe import Markup

    style, script = Markup(_source("board.css").strip()), Markup(_source("board.js").strip())
    return _environment().get_template(template).render(css=style, js=script, **values)


def _inlined(value: Any) -> Any:
    """JSON that is safe inside a script element: <, > and & are escaped."""
    from jinja2.utils import htmlsafe_json_dumps

    return htmlsafe_json_dumps(value, dumps=_compact)


def _compact(value: Any, **_: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("uadbench.leaderboard", "templates")
    return Environment(
        loader=loader,
        autoescape=True,
        finalize=on_page,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _source(name: str) -> str:
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
