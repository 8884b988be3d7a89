"""One report of the study, and the runs it was made from."""

import pytest

from eqviz.report.build import write_report
from eqviz.studies.runs import open_runs


@pytest.fixture(scope="session")
def runs(study):
    return open_runs(study, limit=20, orbit_images=2, device="cpu")


@pytest.fixture(scope="session")
def report(runs, tmp_path_factory):
    """The folder of a report with every figure; not to be changed."""
    folder = tmp_path_factory.mktemp("report")
    written = write_report(runs, folder, formats=("png",), command="eqviz figures <here> & there")
    assert {path for path in folder.rglob("*") if path.is_file()} == set(written)
    return folder
