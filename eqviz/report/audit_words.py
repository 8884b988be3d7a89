"""An audit in words for a terminal: the verdict, the operations that break, what survives, safe sizes and advice."""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from eqviz.audit.auditing import Audit, Operation
from eqviz.report.verdict_words import inferred_table, measurement_table, measurement_words, plain_table
from eqviz.studies.target_audits import Fix, Part, SafeSizes, Size, TargetAudit
from eqviz.tables import format_size

COLOURS = {"exact": "bold green", "approximate": "bold red", "undecided": "bold yellow"}

SURVIVORS = {
    "C1": "no part of the symmetry survives",
    "C2": "half a turn survives, C2",
    "C4": "the quarter turns survive, C4",
    "D1(left-right)": "the left-right flip survives, D1(left-right)",
    "D1(up-down)": "the up-down flip survives, D1(up-down)",
    "D1(transpose)": "the reflection across the main diagonal survives, D1(transpose)",
    "D1(anti-transpose)": "the reflection across the other diagonal survives, D1(anti-transpose)",
    "D2(axes)": "the flips of both axes survive, D2(axes)",
    "D2(diagonals)": "the reflections across both diagonals survive, D2(diagonals)",
}

_UNBROKEN = 10_000
_MOST_ROWS = 12


def audits_in_words(
    found: Sequence[TargetAudit], *, width: int | None = None, colour: bool = False, everything: bool = False
) -> str:
    """The audits one below the other, as text for a terminal of `width` columns; None leaves lines unbroken.

    With `colour`, codes for colours are in it; `everything` lists the exact operations and layers too.
    """
    written = io.StringIO()
    console = Console(
        file=written, width=width or _UNBROKEN, color_system="standard" if colour else None, force_terminal=colour,
        highlight=False, markup=False, emoji=False, legacy_windows=False,
    )  # fmt: skip
    for place, one in enumerate(found):
        if place:
            console.print()
        for part in _parts(one, everything):
            console.print(part)
    if len(found) > 1:
        counts = Counter[str](one.verdict for one in found)
        told = ", ".join(f"{counts[word]} {word}" for word in COLOURS if counts[word])
        console.print(f"\n{len(found)} networks: {told}", style="bold")
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines())


def _parts(one: TargetAudit, everything: bool) -> Iterator[RenderableType]:
    audit = one.audit
    size = "x".join(map(str, audit.input_size))
    yield Text(f"{_visible(one.target.name)} at {size} under {audit.group}, {one.target.weights}", style="bold")
    yield Text.assemble((one.verdict, COLOURS[one.verdict]), f": {_reason(one)}")
    rows = _listed(audit, everything)
    if rows:
        yield _operations(audit, rows)
    letters = "; k kernel, s stride, p padding" if rows else ""
    yield Text(f"{_others(audit, rows)}{letters}", style="dim")
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    for label, text in _facts(one):
        facts.add_row(Text(label, style="bold"), text)
    yield Text()
    yield facts
    if one.inferred is not None:
        if len(one.inferred):
            yield inferred_table(one.inferred)
        else:
            yield Text("field types: every layer declares how the group acts on it")
    if one.measured is not None:
        yield measurement_table(one, one.measured, everything)


def _reason(one: TargetAudit) -> str:
    audit = one.audit
    if one.measured is not None and one.measured.disagreements:
        return "PREDICTION AND MEASUREMENT DISAGREE, see below"
    if audit.exact is None and one.verdict != "undecided":
        return f"measured, on {one.measured.images} images; the audit alone could not tell" if one.measured else ""
    if audit.exact:
        return f"all of {audit.group} survives"
    survivors = SURVIVORS.get(audit.surviving.name, f"{audit.surviving} survives")
    fault = audit.first_fault
    place = f"{fault.layer} ({fault.op})" if fault else "the output"
    if audit.exact is None:
        kept = "no part is certain to survive" if audit.surviving.order == 1 else f"for certain, {survivors}"
        return f"nothing is known to break {audit.group}, but what {place} does is not known; {kept}"
    broken = f"; first broken by {place}" if fault else ""
    return f"{survivors}{broken}"


def _visible(name: str) -> str:
    """A name without characters that a terminal would take for commands."""
    return "".join(character if character.isprintable() else "?" for character in name)


def _listed(audit: Audit, everything: bool) -> list[Operation]:
    """The operations to show: all, or the first that are not exact."""
    rows = [operation for operation in audit.operations if everything or operation.exact != "yes"]
    return rows if everything else rows[:_MOST_ROWS]


def _others(audit: Audit, rows: Sequence[Operation]) -> str:
    hidden = Counter(operation.exact for operation in audit.operations)
    hidden.subtract(operation.exact for operation in rows)
    words = {"yes": "exact operations", "no": "more that break", "unknown": "more that are unknown"}
    told = ", ".join(f"{hidden[exact]} {what}" for exact, what in words.items() if hidden[exact])
    return f"{told} (--all lists them)" if told else f"{len(rows)} operations in all"


def _operations(audit: Audit, rows: Sequence[Operation]) -> Table:
    """One row an operation; `k3 s2 p1 d2` is its kernel, stride, padding and dilation."""
    mixed = any(operation.exact != "no" for operation in rows)
    table = plain_table()
    table.add_column("", no_wrap=True)
    table.add_column("layer", overflow="fold")
    for heading in ("operation", "input", "window", "left over", *(["exact"] if mixed else []), "survives"):
        table.add_column(heading, no_wrap=True, overflow="fold")
    for operation in rows:
        first = operation == audit.first_fault
        layer = operation.layer if not operation.call else f"{operation.layer}, call {operation.call}"
        size = "" if operation.size is None else "x".join(map(str, operation.size))
        exact = Text(operation.exact, style={"no": "red", "unknown": "yellow"}.get(operation.exact, ""))
        table.add_row(
            Text(">" if first else "", style="bold red"), Text(layer), Text(operation.op), Text(size),
            Text(_geometry(operation)), Text(operation.leftover), *([exact] if mixed else []),
            Text(operation.surviving),
        )  # fmt: skip
    return table


def _geometry(operation: Operation) -> str:
    parts = {
        "k": operation.kernel,
        "s": operation.stride,
        "p": operation.padding if operation.padding != "0" else "",
        "d": operation.dilation if operation.dilation != "1" else "",
    }
    return " ".join(f"{letter}{value}" for letter, value in parts.items() if value)


def _facts(one: TargetAudit) -> Iterator[tuple[str, Text]]:
    for place, (reason, layers) in enumerate(_reasons(one.audit).items()):
        yield "why" if place == 0 else "", Text(f"{layers}: {reason}")
    yield "safe sizes", Text(_near(one.part, one.below, one.above, one.audit))
    if one.sizes is not None:
        yield f"{one.sizes.first} to {one.sizes.last}", Text(_range(one.sizes, one.part))
    for place, line in enumerate(one.advice):
        yield "advice" if place == 0 else "", Text(f"- {line}")
    if one.fix_asked is not None:
        yield f"with {one.fix_asked}", _fix(one.fix, one)
    if one.measured is not None:
        yield "measured", Text(measurement_words(one.measured))
        for line in one.measured.disagreements:
            yield "", Text(line, style=COLOURS["approximate"])
    if one.target.alike:
        names = ", ".join(map(_visible, one.target.alike))
        yield "not audited", Text(f"{names}: the same network at the same size, other runs")
    for note in (one.target.note, *one.audit.notes):
        if note:
            yield "note", Text(note)


def _reasons(audit: Audit) -> dict[str, str]:
    """Reason -> the layers it holds for, of the operations that are not exact."""
    layers: dict[str, list[str]] = {}
    for operation in audit.operations:
        if operation.exact != "yes" and operation.why:
            named = layers.setdefault(operation.why, [])
            if operation.layer not in named:
                named.append(operation.layer)
    return {
        why: ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        for why, names in list(layers.items())[:_MOST_ROWS]
    }


def _near(part: Part, below: Size | None, above: Size | None, audit: Audit) -> str:
    places = ((below, "below"), (above, "above"))
    near = ", ".join(f"{format_size(size)} {where}" for size, where in places if size is not None) or "none near by"
    if part == "exact":
        return near
    here = "here" if audit.grid_exact else ""
    fits = f"every sampling grid fits: {', '.join(filter(None, (here, near)))}"
    if audit.fibre_exact is None:
        return f"{fits}; whether the filters and the group axis are exact is not known"
    return f"none: filters or group axis break the symmetry at every size; {fits}"


def _range(sizes: SafeSizes, part: Part) -> str:
    safe = sizes.safe
    if not safe:
        return "none of these sizes is safe"
    steps = {after - before for before, after in pairwise(safe)}
    every = len(safe) > 4 and len(steps) == 1
    listed = f"{safe[0]}, {safe[1]}, ... {safe[-1]}" if every else ", ".join(map(str, safe))
    what = "safe" if part == "exact" else "sampling grids fit"
    return f"{listed} ({what}: {len(safe)} of {sizes.last - sizes.first + 1} sizes)"


def _fix(fix: Fix | None, one: TargetAudit) -> Text:
    if one.audit.exact:
        return Text("nothing to mend: the network is exact as it is")
    if fix is None:
        return Text("no safe size is near enough")
    word = {True: "exact", False: "approximate", None: "undecided"}[fix.audit.exact]
    verb = "padded" if fix.kind == "pad" else "resized"
    fault = fix.audit.first_fault
    reason = f": first broken by {fault.layer} ({fault.op}): {fault.why}" if fault is not None else ""
    size = "x".join(map(str, fix.size))
    return Text.assemble(f"input {verb} to {size}: ", (word, COLOURS[word]), f" under {fix.audit.group}{reason}")
