import dataclasses

import numpy as np
import pandas as pd
import pytest
from made_features import feature_set

from imbalance_study.studies.advise import comparing, heads
from imbalance_study.studies.advise.comparing import Compared, Judgement
from imbalance_study.studies.advise.next_step import NextStep
from imbalance_study.studies.advise.result import Advice


@pytest.fixture
def quick(monkeypatch):
    """Heads of few updates, and three remedies."""
    monkeypatch.setattr(heads, "EPOCHS", 2)
    kept = {
        name: options
        for name, options in comparing.SUITES["head_remedies"].configurations.items()
        if name in ("cross_entropy", "balanced_softmax", "class_balanced")
    }
    suite = comparing.SUITES["head_remedies"]._replace(configurations=kept)
    monkeypatch.setitem(comparing.SUITES, "head_remedies", suite)


def judgement(*, proven=True, probabilities=True, best="balanced_softmax", better=0.99):
    """A judgement on two remedies."""
    nan = float("nan")
    table = pd.DataFrame(
        {
            "remedy": ["balanced_softmax", "cross_entropy"],
            "score": [0.7, 0.6],
            "difference": [0.1, 0.0],
            "low_95": [0.02, nan],
            "high_95": [0.18, nan],
            "p_holm": [0.01, nan],
            "better": [better, nan],
            "rare_recall": [0.5, 0.3],
            "frequent_recall": [0.8, 0.9],
            "rare_change": [0.2, 0.0],
            "frequent_change": [-0.1, 0.0],
        }
    )
    if best == "cross_entropy":
        table = table.iloc[::-1].reset_index(drop=True)
    if probabilities:
        table["best"], table["near_best"] = [0.9, 0.1], [0.95, 0.2]
    better = 0.0 if best == "cross_entropy" else better
    return Judgement(table, "cross_entropy", best, better, proven, probabilities)


@pytest.fixture
def judged():
    """A function that makes a judgement on two remedies."""
    return judgement


@pytest.fixture
def compared():
    """A comparison of three classes that has ended."""
    images = feature_set([20, 10, 9])
    return Compared(comparing.remedies(images), {"smote on features": "too few"}, 15, 0.3, 0.1, "")


@pytest.fixture
def advice():
    """A function that makes an advice; its fields can be changed."""

    def make(**fields):
        nan = float("nan")
        judged = judgement()
        made = Advice(
            verdict=["Data: 39 images.", "Remedy: use balanced_softmax <b>."],
            baseline="cross_entropy",
            best="balanced_softmax",
            choice="balanced_softmax",
            proven=True,
            early=False,
            repeats=15,
            metric="balanced_accuracy",
            data=pd.DataFrame({"kind": ["images"], "count": [39]}),
            remedies=judged.table,
            left_out={"smote on features": "too few"},
            classes=pd.DataFrame({"class": ["a", "b"], "images": [30, 9]}),
            images=pd.DataFrame(
                {
                    "class": ["b", "a"],
                    "images": [9, 5],
                    **{
                        f"{kind}_{n}": [0.05, nan]
                        for n in (20, 100)
                        for kind in ("gain", "low", "high")
                    },
                }
            ),
            suspects=pd.DataFrame(
                {
                    "row": [3],
                    "file": ["=odd|name.jpg"],
                    "label": ["a"],
                    "looks_like": ["b"],
                    "p_label": [0.1],
                    "p_looks_like": [0.8],
                }
            ),
            rules=pd.DataFrame({"rule": ["x"], "score": [0.6], "difference": [0.0]}),
            thresholds=pd.DataFrame({"class": ["a", "b"], "threshold": [1.0, 0.5]}),
            rejection=pd.DataFrame(
                {"kept": [1.0], "least_probability": [0.4], "accuracy": [0.7], "score": [0.6]}
            ),
            sets=pd.DataFrame(
                {
                    "class": ["a", "b"],
                    "images": [30, 9],
                    "coverage": [0.9, np.nan],
                    "size": [1.2, np.nan],
                    "always": [False, True],
                }
            ),
            next=NextStep(["imbalance-study compare"], ["cross_entropy"], 3, 30, 1.5, 0.1),
            seconds={"comparing": 12.0},
            figures={},
        )
        return dataclasses.replace(made, **fields)

    return make
