"""Why an operation keeps a symmetry or breaks it, in words."""

from eqviz.audit.judging import Answer, Judgement
from eqviz.audit.values import Record

_UNEVEN = {
    "slice": "it cuts off more at one end than at the other",
    "roll": "it moves every position in one direction",
    "flip": "it reverses one axis and not the other",
    "pad": "it adds more at one end than at the other",
}


def reason(record: Record, grid: Answer, fibre: Answer, judgement: Judgement) -> str:
    """The reason in words, of the grid first; empty for an operation that could not have failed."""
    parts = []
    if grid is None:
        why = record.grid_why or "the network does not run on the image with its axes exchanged"
        parts.append(f"not followed: {why}; --verify measures it" if record.grid_unknown else why)
    elif grid is False:
        parts.append(_of_grid(record, judgement))
    if record.fibre_why and not (grid is None and record.grid_unknown):
        parts.append(record.fibre_why)
    if not parts:
        return _fitting(record)
    return "; ".join(parts)


def _of_grid(record: Record, judgement: Judgement) -> str:
    if record.grid_lost:
        return record.grid_why
    family = record.op.split("(")[0]
    lost = [g for g, answer in judgement.grid.items() if answer is False]
    rows, columns = record.alone.rows, record.alone.columns
    both = rows.symmetric and columns.symmetric
    if both:
        return "it does not treat rows and columns alike" if lost else ""
    axes = [name for name, line in (("rows", rows), ("columns", columns)) if not line.symmetric]
    where = " and ".join(axes)
    if family in _UNEVEN and record.window.leftover != "" and record.window.stride not in ("", "1", "-1"):
        before, _, after = record.window.leftover.partition(",")
        return (
            f"stride {record.window.stride} leaves {before} of the {where} before the first that it takes, "
            f"and {after} after the last"
        )
    if family in _UNEVEN:
        return f"{_UNEVEN[family]} ({where})"
    if family == "conv_transpose2d":
        return f"output padding adds {where} at one end only"
    if family == "interpolate":
        return f"its sampling points do not lie symmetrically ({where})"
    if record.window.leftover not in ("", "0"):
        return (
            f"stride {record.window.stride} leaves {record.window.leftover} over at the end of the {where}, "
            "so the sampling grid is not mapped to itself"
        )
    return f"its windows at the two ends are not mirror images ({where})"


def _fitting(record: Record) -> str:
    if record.window.stride not in ("", "1", "-1") and record.window.leftover in ("0", ""):
        return "nothing is left over: the sampling grid is mapped to itself" if record.window.leftover == "0" else ""
    return ""
