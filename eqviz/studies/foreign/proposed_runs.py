"""Runs of a folder that nothing describes, for a constructor given in Python: what `eqviz init` would say of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from eqviz.errors import EqvizError
from eqviz.studies.foreign.described_runs import apart, described_runs
from eqviz.studies.foreign.proposals import Asked, Proposal
from eqviz.studies.foreign.proposing import propose
from eqviz.studies.run_folders import Run


def proposed_runs(
    folder: str | Path, constructor: Callable[..., Any], input_size: tuple[int, int] | None = None
) -> tuple[Run, ...]:
    """The runs of the checkpoints below a folder whose weights fit what `constructor` builds.

    Raises EqvizError where none fits, with what is nearest, and for an input size that is not said by anything.
    """
    proposal = propose(folder, Asked(constructor=constructor, input_size=input_size))
    fitting = [(table, part) for table, part in zip(proposal.tables, proposal.descriptions(), strict=True)
               if table.missing is None]  # fmt: skip
    if not fitting:
        raise _nothing_fits(proposal)
    runs: list[Run] = []
    for table, description in fitting:
        for entry in table.guesses:
            if entry.key == "input_size":
                raise EqvizError(
                    "input_size", expected="the size of the images that the networks were trained on",
                    found=f"nothing that says it (a guess is {entry.value}: {entry.why})", fix="give input_size=N",
                )  # fmt: skip
        runs += described_runs(proposal.root, table.files, description, constructor)
    return tuple(apart(runs))


def _nothing_fits(proposal: Proposal) -> EqvizError:
    told = [table.missing.nearest for table in proposal.tables if table.missing is not None and table.missing.nearest]
    return EqvizError(
        str(proposal.root), expected="checkpoints that fit the model",
        found=told[0] if told else "none whose weights it has",
        fix="check the model, or describe them with `eqviz init`",
    )  # fmt: skip
