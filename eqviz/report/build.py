"""Writing a report: every file beside its final name first, then moved into place."""

import io
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from eqviz.errors import EqvizError, NoAnswerError
from eqviz.plots.theme import theme
from eqviz.report.benchmark_table import benchmark_table
from eqviz.report.figure_kinds import DrawnFigure
from eqviz.report.figures import chosen_figures, draw, planned, tables_behind
from eqviz.report.findings_words import findings_in_words
from eqviz.report.left_out import LeftOut, skipped_in_words, skipped_line, unanswered, without_accuracy
from eqviz.report.page import agreement, page
from eqviz.report.record import as_json, report_record, tables_record
from eqviz.report.sections import BALANCED, Tables, sections
from eqviz.report.tables import MEASURED, accuracy_table, check_formats, chosen_tables, render, significance_table
from eqviz.studies.derived import analyses_behind
from eqviz.studies.runs import Runs
from eqviz.studies.tables_recorded import PUBLISHED

FIGURE_FORMATS = ("pdf", "png", "svg")
ACCURACY_TABLE, SIGNIFICANCE_TABLE, BENCHMARK_TABLE = "accuracy_table", "significance_table", "benchmark_table"
PROVENANCE = "provenance.json"

OnWork = Callable[[str], None]


def write_report(
    runs: Runs,
    folder: str | Path,
    *,
    only: Sequence[str] = (),
    formats: Sequence[str] = ("pdf", "png"),
    table_formats: Sequence[str] = ("csv", "md", "tex"),
    command: str = "",
    on_work: OnWork | None = None,
) -> tuple[Path, ...]:
    """Measure what is not cached, draw the figures, and write everything to `folder`; returns the files.

    `only` names the figures to draw; if empty, all that these networks allow. Analyses in depth that no chosen figure
    is drawn from are not made. `formats` are their file formats (pdf, png, svg), `table_formats` those of the tables
    (csv, md, tex). `on_work` is told what is being done.
    Raises EqvizError for unknown names and for a folder that cannot be written to, before anything is measured.
    """
    tell = on_work or (lambda what: None)
    names = chosen_figures(only)
    formats, table_formats = check_formats(formats, FIGURE_FORMATS, "figure"), check_formats(table_formats)
    target = writable_folder(folder)
    tables = Tables(runs)
    wanted = chosen_tables([*MEASURED, *tables_behind(names)] if only else ())
    contents, left_out = _contents(tables, wanted, strict=False)
    figures = []
    for name, section in planned(only, sections(tables)):
        tell(f"drawing {name}{section.suffix}")
        try:
            figures.append(draw(name, section))
        except EqvizError as error:
            if only:
                raise
            left_out.add("figure", f"{name}{section.suffix}", error)
    balanced = [BALANCED] if runs.settings.balanced else []
    remarks = [*balanced, *unfinished(runs), *untraceable(runs), *_missing(runs, contents, left_out)]
    alarms = runs.disagreements()
    for alarm in alarms:
        tell(f"PREDICTION AND MEASUREMENT DISAGREE: {alarm}")
    for remark in remarks:
        tell(remark)
    tell("writing")
    files = _figure_files(figures, formats)
    files |= _table_files(contents, table_formats)
    record = {**report_record(runs, figures, command), "remarks": remarks, "disagreements": alarms}
    title = runs.folder.resolve().name or str(runs.folder)
    shown = page(
        title, contents["networks"], figures, formats, list(contents), table_formats, record, remarks=remarks,
        alarms=alarms, agreement=agreement(contents["verdict"]),
        found=findings_in_words(contents["findings"]) if "findings" in contents else (),
        compared=contents.get(SIGNIFICANCE_TABLE), skipped=skipped_in_words(runs.skipped_layers()),
    )  # fmt: skip
    files[PROVENANCE] = as_json(record)
    files["index.html"] = _bytes(shown)
    return _write(target, files)


def _contents(tables: Tables, names: Sequence[str], *, strict: bool) -> tuple[dict[str, pd.DataFrame], LeftOut]:
    """These tables by name, and what has no answer for any network.

    Raises EqvizError for a table that has none for any network, if `strict`; else it is left out, and in silence where
    it needs a file that was not given.
    """
    if tables.runs.settings.published is None and not strict:
        names = [name for name in names if name != PUBLISHED]
    if set(names) & set(MEASURED) - {"runs", "audit", "exactness"}:
        tables.runs.measured()  # first: it is what a wrong layer or group stops
    tables.runs.analyse(analysis for name in names for analysis in analyses_behind(name))
    contents, left_out = {}, LeftOut()
    for name in names:
        try:
            contents[name] = tables[name]
        except EqvizError as error:
            if strict or (name in MEASURED and not isinstance(error, NoAnswerError)):
                raise
            left_out.add("table", name, error)
    if "accuracy_overview" in contents:
        contents[ACCURACY_TABLE] = accuracy_table(contents["accuracy_overview"])
    if len(contents.get("significance", ())):
        contents[SIGNIFICANCE_TABLE] = significance_table(contents["significance"])
    if len(contents.get("benchmarks", ())):
        contents[BENCHMARK_TABLE] = benchmark_table(contents["benchmarks"])
    if tables.runs.settings.balanced:
        for name in {ACCURACY_TABLE, SIGNIFICANCE_TABLE, BENCHMARK_TABLE} & set(contents):
            contents[name].attrs["caption"] = f"{contents[name].attrs.get('caption', '')} {BALANCED}".strip()
    return contents, left_out


def _missing(runs: Runs, contents: Mapping[str, pd.DataFrame], left_out: LeftOut) -> list[str]:
    """A remark on everything that is in none of these tables, and why."""
    measured = not {"accuracy", "equivariance", "networks"}.isdisjoint(contents)
    return [
        *(without_accuracy(runs.no_accuracy()) if measured else []),
        *left_out.in_words(),
        *unanswered(runs.unanswered(), contents),
        *(skipped_line(runs.skipped_layers()) if measured else []),
    ]


def unfinished(runs: Runs) -> list[str]:
    """A remark on every run that stopped before its last epoch."""
    return [
        f"Run {run.name} stopped at epoch {run.epochs[-1]} of {run.planned_epochs or 'unknown'}: its numbers are those."
        for run in runs
        if not run.finished
    ]


def untraceable(runs: Runs) -> list[str]:
    """A remark on every run whose network cannot be traced, with the reason."""
    return [f"Run {name} could not be audited: {reason}" for name, reason in runs.untraceable().items()]


def make_tables(runs: Runs, *, only: Sequence[str] = (), on_work: OnWork | None = None) -> dict[str, pd.DataFrame]:
    """The tables `only`, or all of them, by name; measured now where they are not cached.

    `on_work` is told of what has no answer. Raises EqvizError for unknown names, and for a table in `only` that has no
    answer for any network.
    """
    contents, left_out = _contents(Tables(runs), chosen_tables(only), strict=bool(only))
    tell = on_work or (lambda what: None)
    for remark in _missing(runs, contents, left_out):
        tell(remark)
    return contents


def write_tables(
    runs: Runs,
    folder: str | Path,
    formats: Sequence[str] = ("csv", "md", "tex"),
    *,
    only: Sequence[str] = (),
    digits: int | None = None,
    command: str = "",
    on_work: OnWork | None = None,
) -> tuple[Path, ...]:
    """Measure what is not cached and write the tables `only`, or all of them, to `folder`/tables; returns the files.

    Beside them `folder`/provenance.json says how they were made; nothing is measured for it, and no folder of this
    machine stands in it. The record of a report in the same folder is kept: there it stands under `tables`. `digits`
    rounds the numbers in csv files to so many significant digits, for tables to be published; None keeps them all.
    `on_work` is told of what has no answer. Raises EqvizError as `write_report` does.
    """
    formats = check_formats(formats)
    names = chosen_tables(only)
    target = writable_folder(folder)
    contents, left_out = _contents(Tables(runs), names, strict=bool(only))
    missing = _missing(runs, contents, left_out)
    for remark in missing:
        (on_work or (lambda what: None))(remark)
    record = tables_record(runs, contents, command, [*unfinished(runs), *missing])
    files = _table_files(contents, formats, digits)
    return _write(target, {**files, PROVENANCE: as_json(_beside_report(target / PROVENANCE, record))})


def _beside_report(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    """The record of tables, inside that of the report whose record is at `path`, if there is one."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return record
    return {**known, "tables": record} if isinstance(known, dict) and "figures" in known else record


def writable_folder(folder: str | Path) -> Path:
    """The path of a folder that can be made and written to; leaves nothing there. Raises EqvizError if it cannot."""
    path = Path(folder)
    tables = path / "tables"
    made: list[Path] = []
    try:
        made += [place for place in (tables, *tables.parents) if not place.exists()]
        tables.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path), tempfile.TemporaryFile(dir=tables):
            pass
    except OSError as error:
        reason = "a file of that name" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
        raise EqvizError(
            f"output folder {path}", expected="a folder that can be written to", found=reason or str(error),
            fix="choose another with -o",
        ) from None  # fmt: skip
    finally:
        for place in made:
            with suppress(OSError):
                place.rmdir()
    return path


def _figure_files(figures: Sequence[DrawnFigure], formats: Sequence[str]) -> dict[str, bytes]:
    """The figures as files; without dates in them, so that the same numbers give the same files."""
    dateless = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
    files = {}
    for drawn in figures:
        for ending in formats:
            buffer = io.BytesIO()
            with theme():
                drawn.figure.savefig(buffer, format=ending, metadata=dateless[ending])
            files[f"{drawn.stem}.{ending}"] = buffer.getvalue()
    return files


def _table_files(
    contents: dict[str, pd.DataFrame], formats: Sequence[str], digits: int | None = None
) -> dict[str, bytes]:
    return {
        f"tables/{name}.{ending}": _bytes(text)
        for name, table in contents.items()
        for ending, text in render(table, formats, digits).items()
    }


def _bytes(text: str) -> bytes:
    """UTF-8; bytes of a file name that are no text, which Python keeps as lone surrogates, become question marks."""
    return text.encode(errors="replace")


def _write(target: Path, files: dict[str, bytes]) -> tuple[Path, ...]:
    """All files or none: written to a hidden folder in `target` first, and moved into place when all are whole."""
    in_the_way = [name for name in files if (target / name).is_dir()]
    if in_the_way:
        raise EqvizError(
            f"output folder {target}", expected="room for the files of the report",
            found=f"a folder of the name {in_the_way[0]}", fix="remove it or choose another folder with -o",
        )  # fmt: skip
    try:
        (target / "tables").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".eqviz-", dir=target) as beside:
            for place, content in enumerate(files.values()):
                Path(beside, str(place)).write_bytes(content)
            for place, name in enumerate(files):
                os.replace(Path(beside, str(place)), target / name)
    except OSError as error:
        raise EqvizError(
            f"output folder {target}", expected="room and permission to write", found=error.strerror or str(error),
            fix="free some space or choose another folder with -o",
        ) from None  # fmt: skip
    return tuple(target / name for name in files)
