"""The page that shows a report: figures with captions, the table of networks, and how everything was made."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd

from eqviz.report.figure_kinds import DrawnFigure
from eqviz.report.sections import last_epochs
from eqviz.report.tables import readable

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>eqviz: {{ folder }}</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
  h1 { font-size: 1.5rem; } h2 { font-size: 1.3rem; margin-top: 3rem; }
  h3 { font-size: 1.1rem; margin-top: 2rem; }
  figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
  figcaption, .small { font-size: .875rem; color: #444; }
  .wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .875rem; }
  th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid #ddd; white-space: nowrap; }
  .alarm { background: #c00000; color: white; padding: .75rem 1rem; } .alarm h2 { margin: 0; }
  code { font-size: .875rem; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>Symmetry of the networks in {{ folder }}</h1>
{% if alarms %}<div class="alarm" role="alert">
<h2>Prediction and measurement disagree</h2>
<p>One of the two is wrong, or something lies outside what either looks at: do not trust the verdict on these
layers.</p>
<ul>{% for alarm in alarms %}<li>{{ alarm }}</li>{% endfor %}</ul>
</div>
{% endif %}<p>{{ verdict }}</p>
{% for remark in remarks %}<p><strong>{{ remark }}</strong></p>
{% endfor %}<div class="wide"><table>
<thead><tr>{% for name in networks.columns %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in networks.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</tbody>
</table></div>
<p class="small">exact: whether the whole group survives at the output, decided by how far the breaking falls from
float32 to float64. surviving: the largest subgroup that does. first_broken: the first layer in which the group does not
survive. breaking_fraction and floor: at the output. Accuracies are means over seeds.</p>
{% if found %}<h2>What was found</h2>
{% for network, sentences in found %}<h3>{{ network }}</h3>
<ul>{% for sentence in sentences %}<li>{{ sentence }}</li>{% endfor %}</ul>
{% endfor %}<p class="small">Means over seeds, from the table findings. Moved: the mean over all elements of the group
but the identity, not over all angles. On fewer images than the table above: their numbers are in the captions of the
figures.</p>
{% endif %}{% if compared %}<h2>What differs between networks</h2>
<div class="wide"><table>
<thead><tr>{% for name in compared.columns %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in compared.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</tbody>
</table></div>
<p class="small">{{ compared.caption }}</p>
{% endif %}<nav class="small">{% for chapter in chapters %}<p><strong>{{ chapter.title }}</strong>:
{% for figure in chapter.figures %}<a href="#{{ figure.stem }}">{{ figure.title }}</a>
{%- if not loop.last %} · {% endif %}{% endfor %}</p>
{% endfor %}</nav>
{% for chapter in chapters %}
<h2>{{ chapter.title }}</h2>
{% for figure in chapter.figures %}
<h3 id="{{ figure.stem }}">{{ figure.title }}</h3>
<figure>
{% if figure.shown %}<a href="{{ figure.shown }}"><img src="{{ figure.shown }}" alt="{{ figure.title }}"></a>{% endif %}
<figcaption>{{ figure.caption }} <span>({% for file in figure.files %}<a href="{{ file.link }}">{{ file.ending }}</a>
{%- if not loop.last %}, {% endif %}{% endfor %})</span></figcaption>
</figure>
{% endfor %}{% endfor %}
<h2>Tables</h2>
<ul>{% for name in tables %}
<li>{{ name }}:{% for ending in endings %} <a href="tables/{{ name }}.{{ ending }}">{{ ending }}</a>{% endfor %}</li>
{%- endfor %}</ul>
<h2>How this was made</h2>
<p><code>{{ command }}</code></p>
<p class="small">eqviz {{ made.eqviz }}, {{ made.created }}, Python {{ made.python }} on {{ made.platform }},
{% for name, version in made.packages.items() %}{{ name }} {{ version }}{% if not loop.last %}, {% endif %}{% endfor %}.
Every setting and the fingerprints of the weights are in <a href="provenance.json">provenance.json</a>.</p>
{% if skipped %}<h2>Layers that could not be measured</h2>
<p class="small">They were asked for and are in no table but skipped_layers.</p>
<ul class="small">{% for reason, layers in skipped %}<li>{{ layers }}: {{ reason }}</li>
{% endfor %}</ul>{% endif %}
</body>
</html>
"""


def page(
    folder: str,
    networks: pd.DataFrame,
    figures: Sequence[DrawnFigure],
    formats: Sequence[str],
    tables: Sequence[str],
    endings: Sequence[str],
    provenance: Mapping[str, Any],
    *,
    remarks: Sequence[str] = (),
    alarms: Sequence[str] = (),
    agreement: str = "",
    found: Sequence[tuple[str, Sequence[str]]] = (),
    compared: pd.DataFrame | None = None,
    skipped: Sequence[tuple[str, str]] = (),
) -> str:
    """The report as one HTML page; every text in it is escaped.

    `alarms`, one for each layer in which prediction and measurement disagree, stand above everything else;
    `agreement` is a sentence after the verdict; `found` are sentences on each network, by its name; `compared` a table
    of what differs between them, with its caption in its attributes; `skipped` reasons why layers could not be
    measured, with the layers of each.
    """
    caption = "" if compared is None else str(compared.attrs.get("caption", ""))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    shown = readable(networks)
    return environment.from_string(_PAGE).render(
        folder=folder,
        verdict=" ".join(part for part in (verdict(networks), agreement) if part),
        alarms=alarms,
        networks=_rows(shown),
        compared=None if compared is None else {**_rows(readable(compared)), "caption": caption},
        chapters=_chapters(figures, formats),
        tables=tables,
        endings=endings,
        command=provenance["command"],
        made=provenance["environment"],
        skipped=skipped,
        remarks=remarks,
        found=found,
    )


def _rows(shown: pd.DataFrame) -> dict[str, Any]:
    return {"columns": list(shown.columns), "rows": shown.to_numpy().tolist()}


def _chapters(figures: Sequence[DrawnFigure], formats: Sequence[str]) -> list[dict[str, Any]]:
    """The figures under the titles of their chapters, in order."""
    titles = dict.fromkeys(figure.chapter for figure in figures)
    return [
        {"title": title, "figures": [_entry(figure, formats) for figure in figures if figure.chapter == title]}
        for title in titles
    ]


def _entry(figure: DrawnFigure, formats: Sequence[str]) -> dict[str, Any]:
    shown = next((ending for ending in ("svg", "png") if ending in formats), None)
    return {
        "stem": figure.stem,
        "title": figure.title,
        "caption": figure.caption,
        "shown": quote(f"{figure.stem}.{shown}") if shown else None,
        "files": [{"link": quote(f"{figure.stem}.{ending}"), "ending": ending} for ending in formats],
    }


def verdict(networks: pd.DataFrame) -> str:
    """How many of the networks are exactly equivariant, each at its last epoch, in a sentence.

    >>> verdict(pd.DataFrame({"exact": ["yes", "no", "no"]}))
    'Of 3 networks, 1 is exactly equivariant at its output and 2 are not.'
    """
    last = last_epochs(networks) if "epoch" in networks else networks
    count = {answer: int((last["exact"] == answer).sum()) for answer in ("yes", "no", "undecided")}
    own = "its output" if count["yes"] == 1 else "their outputs"
    parts = [f"{_is(count['yes'])} exactly equivariant at {own}", f"{_is(count['no'])} not"]
    if count["undecided"]:
        parts.append(f"{_is(count['undecided'])} undecided")
    listed = f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"Of {len(last)} network{'s' if len(last) != 1 else ''}, {listed}."


def agreement(verdicts: pd.DataFrame) -> str:
    """How often prediction and measurement agree, in a sentence, from the table `verdict`; nothing for no rows.

    >>> agreement(pd.DataFrame({"agrees": ["yes", "yes", ""]}))
    'Prediction and measurement agree in 2 of 2 comparisons of a layer, trained or untrained; 1 could not be made.'
    """
    said = verdicts["agrees"].astype(str)
    compared, agreeing = int(said.isin(["yes", "no"]).sum()), int((said == "yes").sum())
    if len(said) == 0:
        return ""
    if compared == 0:
        return "No prediction could be compared with a measurement."
    rest = f"; {len(said) - compared} could not be made" if compared < len(said) else ""
    counted = f"{agreeing} of {compared} comparisons of a layer, trained or untrained"
    return f"Prediction and measurement agree in {counted}{rest}."


def _is(count: int) -> str:
    return f"{count} {'is' if count == 1 else 'are'}"
