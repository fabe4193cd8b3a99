"""Labels that look wrong, by heads that did not see them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from imbalance_study.evaluation import confident_learning
from imbalance_study.studies.advise import heads, splits
from imbalance_study.studies.advise.heads import FeatureSet, Floats, Remedy


def out_of_fold(images: FeatureSet, remedy: Remedy) -> Floats:
    """Return probabilities (N, C) of all images, each by a head that did not train on it."""
    cuts = splits.folds(images)
    trained = heads.train(remedy, images, [cut.train for cut in cuts], range(len(cuts)))
    probs = np.zeros((len(images.labels), len(images.class_names)))
    for cut, head in zip(cuts, trained, strict=True):
        probs[cut.test] = head.probabilities(images.features[cut.test])
    return probs


def suspects(images: FeatureSet, probs: Floats, files: Sequence[str]) -> pd.DataFrame:
    """List the images whose labels look wrong, the most suspicious first.

    Returns:
        Columns row (of the images), file, label, looks_like, p_label, p_looks_like.
    """
    found = confident_learning.suspicious_labels(images.labels, probs)
    names = np.array(images.class_names, dtype=object)
    labels = images.labels[found.rows]
    return pd.DataFrame(
        {
            "row": found.rows,
            "file": [files[row] for row in found.rows.tolist()],
            "label": names[labels],
            "looks_like": names[found.suggested],
            "p_label": probs[found.rows, labels],
            "p_looks_like": probs[found.rows, found.suggested],
        }
    )
