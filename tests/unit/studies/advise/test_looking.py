import numpy as np
import pytest
from made_features import feature_set

from imbalance_study.studies.advise import comparing, looking


def test_planted_errors_are_named_with_their_files():
    images = feature_set([60, 30, 15])
    labels = images.labels.copy()
    labels[[3, 70]] = 2
    noisy = images._replace(labels=labels)
    probs = looking.out_of_fold(noisy, comparing.remedies(noisy)[0])
    assert probs.sum(1) == pytest.approx(np.ones(105))
    found = looking.suspects(noisy, probs, [f"{n}.jpg" for n in range(105)])
    assert {"3.jpg", "70.jpg"} <= set(found["file"].head(4))
    row = found.set_index("file").loc["3.jpg"]
    assert (row["label"], row["looks_like"]) == ("class 2", "class 0")
    assert row["p_looks_like"] > row["p_label"]


def test_an_image_is_judged_by_a_head_that_did_not_see_it():
    generator = np.random.default_rng(0)
    images = feature_set([40, 40])._replace(
        features=generator.normal(size=(80, 60)).astype(np.float32)
    )
    probs = looking.out_of_fold(images, comparing.remedies(images)[0])
    assert (probs.argmax(1) == images.labels).mean() < 0.7  # noise cannot be learnt by heart
