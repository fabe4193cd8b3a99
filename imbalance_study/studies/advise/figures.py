"""The figures of an advice, from its tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from imbalance_study.evaluation import metrics
from imbalance_study.evaluation.figures import advice as draw
from imbalance_study.evaluation.figures.errors import labelled_images
from imbalance_study.evaluation.significance import ALPHA
from imbalance_study.studies.advise.collecting import MORE
from imbalance_study.studies.advise.comparing import Compared, Judgement
from imbalance_study.studies.advise.deciding import Decisions
from imbalance_study.studies.advise.heads import FeatureSet
from imbalance_study.studies.advise.kept import Rows
from imbalance_study.studies.advise.material import Material, small
from imbalance_study.studies.advise.metric import Metric

_SHOWN = 25


def all_of(
    material: Material,
    images: FeatureSet,
    rows: Rows,
    compared: Compared,
    judged: Judgement,
    worth: pd.DataFrame,
    suspects: pd.DataFrame,
    decided: Decisions,
    metric: Metric,
) -> dict[str, Any]:
    """Draw all figures: name to Figure."""
    scale = 100.0 if metric.costs is None else 1.0
    unit = "points" if metric.costs is None else "cost saved"
    table = judged.table
    found: dict[str, Any] = {
        "remedies": draw.remedies(
            table["remedy"].tolist(),
            scale * table["difference"].to_numpy(),
            scale * table["low_95"].to_numpy(),
            scale * table["high_95"].to_numpy(),
            (table["p_holm"] < ALPHA).tolist(),
            unit,
        ),
        "recalls": _recalls(images, rows, compared, judged),
        "rejection": _rejection(decided.rejection, metric),
    }
    known = worth[worth[f"gain_{MORE[-1]}"].notna()]
    if len(known):
        values, low, high = (
            scale * known[[f"{kind}_{more}" for more in MORE]].to_numpy().T
            for kind in ("gain", "low", "high")
        )
        gain = scale * float(judged.row(judged.best)["difference"])
        labels = [f"{more} more images" for more in MORE]
        found["more_images"] = draw.more_images(
            known["class"].tolist(), values, low, high, gain, labels, unit
        )
    if len(suspects):
        found["suspects"] = _suspects(material, images, suspects.head(_SHOWN))
    return found


def recall(rows: Rows, compared: Compared, name: str) -> np.ndarray:
    """Return the recall (C,) of a remedy over all repeats."""
    matrix = rows.stacked(name, compared.repeats).sum(0)
    return np.asarray(metrics.class_scores(matrix).recall)


def _recalls(images: FeatureSet, rows: Rows, compared: Compared, judged: Judgement) -> Any:
    names = list(dict.fromkeys((judged.baseline, judged.best)))
    values = np.stack([recall(rows, compared, name) for name in names])
    return draw.recalls(images.class_names, images.counts.astype(float), values, names)


def _rejection(table: pd.DataFrame, metric: Metric) -> Any:
    scores, labels = [100 * table["accuracy"].to_numpy()], ["accuracy, %"]
    if metric.costs is None:
        scores.append(100 * table["score"].to_numpy())
        labels.append(f"{metric.words}, %")
    return draw.rejection(table["kept"].to_numpy(), scores, labels)


def _suspects(material: Material, images: FeatureSet, first: pd.DataFrame) -> Any:
    place = {name: label for label, name in enumerate(images.class_names)}
    rows = first["row"].to_numpy()
    return labelled_images(
        small(material, rows),
        images.labels[rows],
        first["looks_like"].map(place).to_numpy(),
        first["p_looks_like"].to_numpy(),
        images.class_names,
        "label, and → class that it looks like",
    )
