"""What makes headline figures doubtful is said beside them."""

import dataclasses

import numpy as np

from imbalance_study.tracking import description


def _with(result, logits, targets):
    test = result.test._replace(
        logits=np.asarray(logits, np.float32), targets=np.asarray(targets, np.int64)
    )
    return dataclasses.replace(result, test=test)


def test_a_model_that_gives_all_images_one_class_is_called_that(tiny_run):
    names = tiny_run.result.facts.class_names
    constant = np.zeros((50, len(names)))
    constant[:, 3] = 1
    found = description.cautions(_with(tiny_run.result, constant, np.arange(50) % 2))
    assert found[0] == f"the model gives all 50 test images the class {names[3]}"


def test_classes_with_few_test_images_are_named_and_many_images_are_no_news(tiny_run):
    count = len(tiny_run.result.facts.class_names)
    targets = np.repeat(np.arange(count), 25)
    logits = np.eye(count)[targets]
    assert description.cautions(_with(tiny_run.result, logits, targets)) == []
    (few,) = description.cautions(_with(tiny_run.result, logits[6:], targets[6:]))
    assert "fewer than 20 test images" in few


def test_weights_of_an_unknown_scale_are_no_small_matter(tiny_run):
    facts = dataclasses.replace(tiny_run.result.facts, weights={"scale": "unknown"})
    found = description.cautions(
        dataclasses.replace(tiny_run.result, setup=_setup(tiny_run, facts))
    )
    assert "the scale of the pixels that the weights expect is unknown" in found[-1]


def _setup(run, facts):
    return dataclasses.replace(run.result.setup, facts=facts)
