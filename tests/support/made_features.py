"""Sets of features: a cloud for each class, some of them close to each other."""

import numpy as np

from imbalance_study.studies.advise.heads import FeatureSet


def feature_set(counts, *, width=12, spread=1.0, groups=None, seed=0):
    """So many images of each class; `groups` gives the group of each, by position."""
    generator = np.random.default_rng(seed)
    centres = 2.5 * np.eye(len(counts), width)
    labels = np.repeat(np.arange(len(counts)), counts)
    features = centres[labels] + spread * generator.normal(size=(len(labels), width))
    names = tuple(f"class {label}" for label in range(len(counts)))
    together = np.empty(0, np.int64) if groups is None else np.asarray(groups, np.int64)
    return FeatureSet(features.astype(np.float32), labels, names, together)
