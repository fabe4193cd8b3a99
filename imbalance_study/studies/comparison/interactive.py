"""The comparison as one interactive page: a file that needs neither server nor network.

The data stand in the page as JSON, the script beside them (interactive.js) draws them. The page's
own policy forbids it to load anything and to run any other script.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imbalance_study.evaluation.metrics import Floats
from imbalance_study.studies.comparison import predictions
from imbalance_study.studies.comparison.grouping import GroupedOutcomes
from imbalance_study.studies.comparison.outcome import Curve

PICTURE_BYTES = 2_500_000  # of the images of all configurations, before base64
_CELLS = 600_000  # of all confusion matrices, about 2 MB
_POINTS = 200  # of a curve
_FOLDER = Path(__file__).parent
# Epoch to the bytes of a WebP image, of each configuration.
Pictures = Mapping[str, Mapping[int, bytes]]


def part(
    answer: Mapping[str, Any],
    grouped: GroupedOutcomes,
    pictures: Pictures,
    *,
    picture_bytes: int = PICTURE_BYTES,
) -> dict[str, Any]:
    """Make the data of one data set's part.

    Args:
        answer: From `answer.part`.
        grouped: The runs.
        pictures: Images over the epochs, of the configurations that have any.
        picture_bytes: Limit of all images together; epochs in between are left out beyond it.
    """
    return {
        "answer": dict(answer),
        "curves": _curves(grouped),
        "confusion": _confusion(grouped),
        "pictures": _pictures(pictures, picture_bytes),
    }


def _curves(grouped: GroupedOutcomes) -> dict[str, list[dict[str, Any]]]:
    """Make mean and band over seeds of each metric, for each configuration that recorded it."""
    from imbalance_study.studies.comparison.figures import band

    names = dict.fromkeys(
        name for group in grouped.groups for one in group.outcomes for name in one.curves
    )
    made: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        for group in grouped.groups:
            curves = [one.curves[name] for one in group.outcomes if name in one.curves]
            if any(len(curve.steps) for curve in curves):
                found = band([_thinned(curve) for curve in curves])
                lines = {"x": found.steps, "mean": found.mean, "low": found.low}
                lines["high"] = found.high
                line = {key: _rounded(values) for key, values in lines.items()}
                made.setdefault(name, []).append({"of": group.name, **line})
    return made


def _thinned(curve: Curve) -> Curve:
    """Keep at most `_POINTS` epochs, the last one among them; the same ones for each seed."""
    if len(curve.steps) <= _POINTS:
        return curve
    every = -(-len(curve.steps) // _POINTS)
    kept = (curve.steps % every == 0) | (curve.steps == curve.steps.max())
    return Curve(curve.steps[kept], curve.values[kept])


def _rounded(values: Floats) -> list[float | None]:
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in values]


def _confusion(grouped: GroupedOutcomes) -> dict[str, Any]:
    """Make the confusion matrices in thousandths of the true class; -1 where it has no image."""
    classes = list(grouped.baseline.outcomes[0].class_names)
    if len(grouped.same_classes) * len(classes) ** 2 > _CELLS:
        return {"left_out": f"{len(classes)} classes are too many for matrices on a page."}
    matrices = []
    for group in grouped.same_classes:
        shares = predictions.confusion_shares(group)
        if shares is not None:
            cells = np.nan_to_num(1000 * shares, nan=-1).round().astype(int)
            matrices.append({"of": group.name, "cells": cells.ravel().tolist()})
    return {"classes": classes, "matrices": matrices} if matrices else {}


def _pictures(pictures: Pictures, most: int) -> dict[str, Any]:
    """Choose the epochs whose images fit into the page, spread evenly, the last one among them."""
    epochs = sorted({epoch for of in pictures.values() for epoch in of})
    if not epochs:
        return {}
    sizes = [sum(len(of.get(epoch, b"")) for of in pictures.values()) for epoch in epochs]
    count = len(epochs)
    while count > 1:
        places = np.unique(np.linspace(0, len(epochs) - 1, count).round().astype(int))
        if sum(sizes[place] for place in places) <= most:
            break
        count -= 1
    chosen = [epochs[place] for place in places] if count > 1 else epochs[-1:]
    return {
        "epochs": chosen,
        "of": {
            name: [base64.b64encode(of[one]).decode() if one in of else "" for one in chosen]
            for name, of in pictures.items()
        },
    }


def details(answer: Mapping[str, Any]) -> dict[str, str]:
    """Make the words under the title of a page from a whole answer."""
    subject, parts = answer["subject"], answer["parts"]
    data = {"data": parts[0]["dataset"], "model": parts[0]["model"]} if len(parts) == 1 else {}
    found = data | {
        "metric": parts[0]["metric"],
        "made": answer["made"][:16].replace("T", " "),
        "imbalance-study": answer["program"],
        "run": subject.get("run_id", ""),
        "link": subject.get("link", ""),
    }
    return {name: value for name, value in found.items() if value}


def page(title: str, about: Mapping[str, str], parts: Sequence[Mapping[str, Any]]) -> str:
    """Write the page.

    Args:
        title: Its title.
        about: Words and values under the title, as date and version; `link` is an address.
        parts: From `part`, one for each data set.
    """
    script = (_FOLDER / "interactive.js").read_text(encoding="utf-8")
    style = (_FOLDER / "interactive.css").read_text(encoding="utf-8")
    data = json.dumps({"parts": list(parts)}, separators=(",", ":"), allow_nan=False)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )
    verdicts = "\n".join(_verdict(one["answer"], len(parts) > 1) for one in parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"<h1>{_text(title)}</h1>\n<p class=about>{_about(about)}</p>\n{verdicts}\n"
        "<noscript><p>The tables and curves of this page need JavaScript.</p></noscript>\n"
        '<main id="main"></main>\n'
        f'<script type="application/json" id="data">{_in_script(data)}</script>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _text(text: str) -> str:
    return html.escape(" ".join(str(text).split()), quote=True)


def _about(about: Mapping[str, str]) -> str:
    shown = [f"{_text(name)} {_text(value)}" for name, value in about.items() if name != "link"]
    link = about.get("link", "")
    if link.startswith(("http://", "https://")):
        shown.append(f'<a href="{_text(link)}" rel="noreferrer">open it in MLflow</a>')
    return " · ".join(shown)


def _verdict(answer: Mapping[str, Any], several: bool) -> str:
    where = f"<span>{_text(answer.get('dataset', ''))}</span> " if several else ""
    return f"<p class=verdict>{where}<strong>{_text(answer['verdict'])}</strong></p>"


def _in_script(data: str) -> str:
    """Keep data from ending the element that they stand in."""
    return data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
