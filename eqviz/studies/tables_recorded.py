"""Tables of what runs recorded while they trained, of what one image becomes, and of what others have published."""

from functools import partial

import pandas as pd

from eqviz.analysis.learning_curves import learning_curves
from eqviz.analysis.published import published_comparison, read_published
from eqviz.errors import EqvizError
from eqviz.studies.analyses import ANALYSED
from eqviz.studies.feature_maps import FEATURE_MAPS, feature_maps, first_runs
from eqviz.studies.measured_runs import MeasuredRuns
from eqviz.studies.stepping import Call

CURVES = "learning_curves"
PUBLISHED = "published_comparison"


class RecordedTables(MeasuredRuns):
    """Learning curves, feature maps over training, and published numbers beside ours."""

    def learning_curves(self) -> pd.DataFrame:
        """Loss and accuracy after each epoch of training, over seeds, as the runs recorded them."""
        if CURVES not in self._tables:
            parts, problems = [], []
            for run in self:
                try:
                    metrics = run.metrics()
                except EqvizError as error:
                    problems.append(error)
                    continue
                keys = self._keys(run, run.epochs[-1], self.settings.group or run.group)
                # of its own test images, whatever it is measured on
                constant = pd.DataFrame({**keys, "data": run.data.source}, index=metrics.index).drop(columns="epoch")
                parts.append(pd.concat([constant, metrics], axis=1))
            if not parts:
                raise problems[0]
            self._tables[CURVES] = learning_curves(pd.concat(parts, ignore_index=True))
        return self._tables[CURVES].copy()

    def feature_maps(self) -> pd.DataFrame:
        """One test image and its moved copy through the layer that subsamples, pixel by pixel, at all saved epochs."""
        if FEATURE_MAPS not in self._tables:
            keys = {run.name: self._predicted_keys(run, run.epochs[-1]) for run in self}
            names = ("model", "input_size", "group", "data", "regime")
            networks = {run: tuple(str(known[name]) for name in names) for run, known in keys.items()}
            chosen = first_runs(self, networks)
            calls = [Call(run, run.epochs[-1], partial(feature_maps, run, self.settings, self.cache)) for run in chosen]
            found = self._in_turn(calls, ANALYSED)
            pairs = [(run, part.table) for run, part in zip(chosen, found, strict=True)]
            self._join(
                FEATURE_MAPS,
                ((keys[run.name] | {"epoch": epoch}, rows.drop(columns="epoch"))
                 for run, table in pairs for epoch, rows in table.groupby("epoch", sort=False)),
            )  # fmt: skip
        return self._tables[FEATURE_MAPS].copy()

    def published_comparison(self) -> pd.DataFrame:
        """Our accuracies beside published ones, with their intervals: one row a network and metric."""
        if self.settings.published is None:
            raise EqvizError(
                PUBLISHED, expected="a file of published numbers", found="none", fix="give one with --published FILE"
            )
        if PUBLISHED not in self._tables:
            known = read_published(self.settings.published)
            self._tables[PUBLISHED] = published_comparison(self.accuracy(), known)
        return self._tables[PUBLISHED].copy()
