"""One self-contained HTML page of explanations: summary, verdicts, figures, method, limits."""

import base64
import datetime
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
import numpy as np

import tfstyle
from tfstyle import files, images
from tfstyle.explain.results import Explanation

_PICTURE = 512

# Explanations whose layers are the generator's; those of others are VGG16's.
_OF_GENERATOR = ("skips", "units", "noise", "style_directions")
# What layers are for, by their names. The sizes are receptive fields in pixels.
_VGG_LAYERS = {
    r"\bblock1_conv\d": "colours and finest lines, some 3 px wide",
    r"\bblock2_conv\d": "fine texture, some 10 px wide",
    r"\bblock3_conv\d": "small patterns and strokes, some 24 to 40 px wide",
    r"\bblock4_conv\d": "parts of things and large strokes, some 50 to 100 px wide",
    r"\bblock5_conv\d": "things and large shapes, from 130 px wide",
}
_GENERATOR_LAYERS = {
    r"\bstem\b": "the first look at the photo",
    r"\bdown\d": "halves the picture",
    r"\bblock\d+_": "repaints it at a quarter of its size",
    r"\bup\d": "doubles the picture again",
    r"\bre_lu(_\d+)?\b": "what a step found, without what is below 0",
    r"\badd(_\d+)?\b": "where earlier detail joins again",
    r"\bhead\b": "makes the colours of the result",
}

_PAGE = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff; }
h1, h2, h3 { line-height: 1.2; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ccc;
         vertical-align: top; }
p, td, th, figcaption { overflow-wrap: break-word; }
figure { display: inline-block; margin: .5rem 1rem .5rem 0; vertical-align: top; max-width: 100%; }
figure img { max-width: 100%; height: auto; display: block; }
figcaption { font-size: .85rem; color: #555; max-width: 28rem; }
.warning { border-left: .3rem solid #b00020; padding-left: .7rem; }
small { color: #555; }
.PASS { color: #0a6b2d; } .FAIL { color: #b00020; font-weight: bold; } .NOT { color: #666; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% if warning %}
<p class="warning"><strong>Another style image?</strong> {{ warning }}</p>
{% endif %}
{% for each in explanations %}
<p>{{ each.summary }}{% if each.verdict != "PASS" %} <em>({{ each.verdict }}: see below before
relying on it.)</em>{% endif %}</p>
{% endfor %}
<p>
{% for name, picture in pictures %}
<figure><img src="{{ picture }}" alt="{{ name }}"><figcaption>{{ name }}</figcaption></figure>
{% endfor %}
</p>
{% for each in explanations %}
<h2>{{ each.question }}</h2>
<p>{{ each.summary }}</p>
{% for name, unit, colours, picture in figures[each.name] %}
<figure><img src="{{ picture }}" alt="{{ name }}: {{ unit }}"><figcaption>{{ name }}
{%- if words(each, name) %} ({{ words(each, name) }}){% endif %}: {{ unit }}
<span class="{{ each.verdict.split()[0] }}">{{ each.verdict }}</span>
{% if colours %}<br>{{ colours }}{% endif %}</figcaption></figure>
{% endfor %}
{% if each.figures %}
<div class="wide"><table>
{% for name, value in each.figures.items() %}
<tr><td>{{ name }}{% if words(each, name) %}<br><small>{{ words(each, name) }}</small>{% endif %}
</td><td>{{ "%.4g" % value }}</td><td>{{ each.units.get(name, "") }}</td></tr>
{% endfor %}
</table></div>
{% endif %}
<p>Limits: {{ each.limits }}</p>
{% if each.name == verdicts_after %}
<h2>Verdicts</h2>
<div class="wide"><table>
<tr><th>Question</th><th>What was tested</th><th>Found</th><th>Bound</th><th>By chance</th>
<th>n</th><th>Verdict</th></tr>
{% for of in explanations %}
{% for check in of.checks %}
<tr><td>{{ of.question if loop.first else "" }}</td><td>{{ check.name }}
{% if words(of, check.name) %}<br><small>{{ words(of, check.name) }}</small>{% endif %}</td>
<td>{{ "%.3g" % check.value }}</td>
<td>{{ "under" if check.passes == "below" else "over" }} {{ "%.3g" % check.threshold }}</td>
<td>{{ "%.3g" % check.null if check.null is not none else "" }}</td><td>{{ check.n }}</td>
<td class="{{ check.verdict.split()[0] }}">{{ check.verdict }}{{ ": " + check.why if check.why }}
</td></tr>
{% endfor %}
{% endfor %}
</table></div>
{% endif %}
{% endfor %}
<h2>Method</h2>
<p>Made with tfstyle {{ version }} on {{ date }}. The numbers are in {{ json }}, the arrays beside
it. Each table row is a test that the explanation could have failed; a map under FAIL is shown
with its mark and means little.</p>
</body>
</html>
""")


def write(
    path: str | os.PathLike,
    explanations: Sequence[Explanation],
    *,
    title: str,
    pictures: Mapping[str, np.ndarray],
    ground: str | None = None,
    warning: str = "",
) -> list[Path]:
    """Writes the page, NAME.json with all numbers, and NAME.NAMEOFEXPLANATION.npz with the arrays.

    Args:
        path: of the page, ending in .html.
        title: of the page.
        pictures: {what it is: image [H, W, 3] in [0, 1]}, shown at the top.
        ground: the one of `pictures` that maps of its size are laid over.
        warning: what to know before all else; "" for nothing.

    Returns:
        The files, the page first.
    """
    path = Path(path)
    shown = {name: images.fit(picture, _PICTURE) for name, picture in pictures.items()}
    figures = {
        each.name: [
            (
                name,
                each.units.get(name, ""),
                _colours(each, name),
                _drawn(each, name, pictures, ground),
            )
            for name, array in each.arrays.items()
            if "/" not in name and name not in each.along.values() and np.size(array)
        ]
        for each in explanations
    }
    numbers = path.with_suffix(".json")
    # The first that shows something: who reads the verdicts has seen what they are about.
    shows = [each.name for each in explanations if figures[each.name]]
    last = [each.name for each in explanations][-1:]
    page = _PAGE.render(
        warning=warning,
        words=_words,
        verdicts_after=(shows or last or [""])[0],
        title=title,
        explanations=explanations,
        pictures=[(name, _embedded(images.encode(p, "png"))) for name, p in shown.items()],
        figures=figures,
        version=tfstyle.__version__,
        date=datetime.date.today().isoformat(),
        json=numbers.name,
    )
    content = {
        "title": title,
        "tfstyle": tfstyle.__version__,
        "warning": warning,
        "explanations": [each.to_json() for each in explanations],
    }
    files.write_whole(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    files.write_json(numbers, content)
    arrays = [
        each.save_arrays(path.with_name(f"{path.stem}.{each.name}.npz")) for each in explanations
    ]
    return [path, numbers, *arrays]


def _words(explanation: Explanation, text: str) -> str:
    """What the layers that a text names are for, in words; "" where it names none."""
    of_generator = explanation.name in _OF_GENERATOR
    known = _GENERATOR_LAYERS if of_generator else _VGG_LAYERS
    found = {
        words: match[0]
        for pattern, words in known.items()
        for match in [re.search(pattern, text)]
        if match
    }
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{name}: {words}" for words, name in found.items())


def _colours(explanation: Explanation, name: str) -> str:
    """Which colours of a figure mean what; "" for pictures, curves and bars."""
    array = np.asarray(explanation.arrays[name])
    if array.ndim != 2 or name in explanation.along:
        return ""
    if name in explanation.labels or array.min() < 0:
        return "Red: above 0. Blue: below 0. The paler, the nearer to 0."
    return "Bright yellow: most. Dark violet to black: none. Greys are the picture below."


def _under(
    array: np.ndarray, pictures: Mapping[str, np.ndarray], ground: str | None
) -> np.ndarray | None:
    """The picture that a map lies over: `ground`, or another of the map's size."""
    ordered = sorted(pictures, key=lambda name: name != ground)
    return next((pictures[n] for n in ordered if pictures[n].shape[:2] == array.shape), None)


def _drawn(
    explanation: Explanation, name: str, pictures: Mapping[str, np.ndarray], ground: str | None
) -> str:
    array = np.asarray(explanation.arrays[name])
    if array.ndim == 3 and array.shape[-1] == 3:
        return _embedded(images.encode(images.fit(array.astype("float32"), _PICTURE), "png"))
    over = explanation.along.get(name)
    return _figure(
        array,
        _under(array, pictures, ground),
        None if over is None else (over, explanation.arrays[over]),
        explanation.labels.get(name),
        explanation.labels.get(f"{name}/columns"),
    )


def _figure(
    array: np.ndarray,
    picture: np.ndarray | None,
    over: tuple[str, np.ndarray] | None = None,
    labels: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> str:
    """A map over a picture, a table of colours, a curve over (name, numbers), or labelled bars."""
    from matplotlib.figure import Figure

    array = np.asarray(array, "float64")
    if over is not None:
        figure = Figure(figsize=(4.6, 2.6), dpi=100, layout="constrained")
        axes = figure.subplots()
        axes.plot(over[1], array, marker="." if len(array) < 60 else None)
        axes.set_xlabel(over[0])
        axes.grid(alpha=0.3)
    elif array.ndim == 2 and labels:
        height, width = array.shape
        size = (2.2 + 0.19 * width, 1.6 + 0.19 * height)
        figure = Figure(figsize=size, dpi=100, layout="constrained")
        axes = figure.subplots()
        most = np.abs(array).max() or 1.0
        image = axes.imshow(array, cmap="RdBu_r", vmin=-most, vmax=most)
        axes.set_yticks(np.arange(height), labels, fontsize=7)
        axes.set_xticks(np.arange(width), columns or labels, rotation=90, fontsize=7)
        figure.colorbar(image, shrink=0.6)
    elif array.ndim == 2:
        height, width = array.shape
        figure = Figure(figsize=(4.6, 4.6 * height / width * 0.85), dpi=100, layout="constrained")
        axes = figure.subplots()
        axes.set_axis_off()
        most = np.quantile(np.abs(array), 0.99) or 1.0
        signed = array.min() < 0
        if picture is not None:
            axes.imshow(picture.mean(axis=-1), cmap="gray", vmin=0, vmax=1)
        image = axes.imshow(
            array,
            cmap="RdBu_r" if signed else "magma",
            vmin=-most if signed else 0,
            vmax=most,
            alpha=0.65 if picture is not None else 1.0,
        )
        figure.colorbar(image, shrink=0.8)
    else:
        figure = Figure(figsize=(4.6, 3), dpi=100, layout="constrained")
        axes = figure.subplots()
        axes.bar(np.arange(array.size), array.ravel())
        if labels:
            axes.set_xticks(np.arange(array.size), labels, rotation=90, fontsize=7)
        axes.axhline(0, color="black", linewidth=0.5)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return _embedded(file.getvalue())


def _embedded(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
