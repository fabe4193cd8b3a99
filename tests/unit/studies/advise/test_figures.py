"""The whole set of figures is drawn in test_run.py; the drawings are in evaluation/figures."""

import numpy as np
import pytest
from made_features import feature_set

from imbalance_study.studies.advise import comparing, figures
from imbalance_study.studies.advise.kept import Key, Rows


def test_recall_is_that_over_all_repeats():
    rows = Rows(None)
    rows.add(Key("plain", 0), np.array([[8, 2], [1, 1]]))
    rows.add(Key("plain", 1), np.array([[6, 4], [0, 2]]))
    images = feature_set([50, 10])
    compared = comparing.Compared(comparing.remedies(images), {}, 2, 0.25, 0.1, "")
    assert figures.recall(rows, compared, "plain") == pytest.approx([0.7, 0.75])
