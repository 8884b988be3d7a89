"""One report of the study, and the runs it was made from."""

from functools import cache

import pytest

from eqviz.analysis.published import COLUMNS
from eqviz.report.build import write_report
from eqviz.studies.runs import open_runs


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """A file of published numbers on two networks of the study."""
    rows = [
        f"p4cnn,{size},upright,{metric},{mean},0.05,10,A paper"
        for size, mean in ((8, 0.4), (9, 0.6))
        for metric in ("0°", "180°", "mean of 36 angles")
    ]
    path = tmp_path_factory.mktemp("published") / "numbers.csv"
    path.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    return path


@pytest.fixture(scope="session")
def runs(study, published):
    """The runs of the study; their tables are made once."""
    opened = open_runs(study, limit=20, orbit_images=2, device="cpu", published=str(published))
    opened.table = cache(opened.table)
    return opened


@pytest.fixture(scope="session")
def report(runs, tmp_path_factory):
    """The folder of a report with every figure; not to be changed."""
    folder = tmp_path_factory.mktemp("report")
    written = write_report(runs, folder, formats=("png",), command="eqviz figures <here> & there")
    assert {path for path in folder.rglob("*") if path.is_file()} == set(written)
    return folder
