"""One report of the study, and the runs it was made from."""

from functools import cache

import pytest

from eqviz.report.build import write_report
from eqviz.studies.runs import open_runs


@pytest.fixture(scope="session")
def runs(study):
    """The runs of the study; their tables are made once."""
    opened = open_runs(study, limit=20, orbit_images=2, device="cpu")
    opened.table = cache(opened.table)
    return opened


@pytest.fixture(scope="session")
def report(runs, tmp_path_factory):
    """The folder of a report with every figure; not to be changed."""
    folder = tmp_path_factory.mktemp("report")
    written = write_report(runs, folder, formats=("png",), command="eqviz figures <here> & there")
    assert {path for path in folder.rglob("*") if path.is_file()} == set(written)
    return folder
