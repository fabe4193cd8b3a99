import re

import pytest
import torch

from imbalance_study.experiment.setup.components import bind
from imbalance_study.experiment.setup.data import DataCache, load_data
from imbalance_study.experiment.setup.inputs import LocalFiles
from imbalance_study.models import zoo
from imbalance_study.studies.comparison.configurations import ComparisonSettings
from imbalance_study.studies.comparison.plan import describe, make_plan

DIGITS = {"dataset": "digits", "image_size": "8", "model": "resnet20"}


LOCAL = LocalFiles(data_cache=DataCache())


def _plan(settings, common):
    return make_plan(settings, common, LOCAL)


def test_all_runs_of_a_seed_come_before_those_of_the_next():
    made = _plan(ComparisonSettings(vary="lr=0.1|0.2", seeds=2), DIGITS)
    assert [child.name for child in made.children] == [
        "lr=0.1, seed 0",
        "lr=0.2, seed 0",
        "lr=0.1, seed 1",
        "lr=0.2, seed 1",
    ]
    assert made.baseline == "lr=0.1"
    assert len({child.key for child in made.children}) == 4
    assert len({child.fingerprint for child in made.children}) == 1


def test_costly_analyses_are_those_of_the_first_seed_alone_unless_they_are_given():
    settings = ComparisonSettings(vary="lr=0.1|0.2", seeds=2)
    made = _plan(settings, DIGITS)
    for child in made.children:
        analyses = child.resolved.config.analyses.split("+")
        assert "predictions" in analyses
        assert ("tsne" in analyses) == child.first == (child.seed == 0)
    made = _plan(settings, DIGITS | {"analyses": "none"})
    assert {child.resolved.config.analyses for child in made.children} == {"none"}


def test_the_same_runs_have_the_same_digest_however_they_are_asked_for():
    one = _plan(ComparisonSettings(vary="loss=focal|vs", seeds=1), DIGITS)
    other = _plan(ComparisonSettings(vary="loss=vs|focal", seeds=1), DIGITS | {"experiment": "x"})
    third = _plan(ComparisonSettings(vary="loss=vs|focal", seeds=1), DIGITS | {"epochs": "3"})
    assert one.digest == other.digest != third.digest


def test_a_suite_validates_on_balanced_images_unless_told_otherwise():
    suite = ComparisonSettings(suite="optimizers", seeds=1)
    (validation,) = {c.resolved.config.validation for c in _plan(suite, DIGITS).children}
    assert validation == "balanced:per_class=50"
    given = DIGITS | {"validation": "stratified:fraction=0.2"}
    (validation,) = {c.resolved.config.validation for c in _plan(suite, given).children}
    assert validation == "stratified:fraction=0.2"


def test_where_the_data_do_not_allow_balanced_validation_the_plan_says_so():
    made = _plan(
        ComparisonSettings(suite="optimizers", seeds=1), DIGITS | {"test_fraction": "0.75"}
    )
    (validation,) = {c.resolved.config.validation for c in made.children}
    assert validation == "stratified:fraction=0.1"
    assert any("per_class" in note for note in made.notes)
    assert "Note: validation is stratified" in describe(made, set())


def test_samplers_are_compared_at_the_same_number_of_updates():
    made = _plan(ComparisonSettings(suite="samplers", seeds=1), DIGITS)
    (steps,) = {child.resolved.config.steps_per_epoch for child in made.children}
    config = made.children[0].resolved.config
    images = len(load_data(config, bind(config)).train_rows)
    assert (steps - 1) * 32 < images <= steps * 32


def test_a_ratio_that_the_data_do_not_allow_is_left_out_of_the_suite_and_said():
    made = _plan(ComparisonSettings(suite="imbalance_ratios", seeds=1), DIGITS)
    labels = [one.label for one in made.configurations]
    assert labels == ["ratio 1", "ratio 10", "ratio 20", "ratio 50"]
    assert any(note.startswith("ratio 100 is left out: imbalance_ratio") for note in made.notes)


@pytest.mark.parametrize(
    ("asked", "common", "message"),
    [
        ({"vary": "lr=1|2", "metric": "test/acuracy"}, {}, "did you mean test/accuracy"),
        (
            {"vary": "imbalance_ratio=10|5000"},
            {"model": "resnet20"},
            "configuration imbalance_ratio=5000: imbalance_",
        ),
        ({"vary": "model=resnet20|resnett"}, {}, "configuration resnett: "),
        (
            {"vary": "loss=focal|focal:g=1"},
            {"model": "resnet20"},
            "configuration focal:g=1: loss focal has no option",
        ),
        (
            {"vary": "lr=1|2"},
            {"model": "resnet20", "analyses": "gradcam", "gradcam_layers": "x"},
            "configuration lr=1",
        ),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_runs(asked, common, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        _plan(
            ComparisonSettings(**asked, seeds=1), {"dataset": "digits", "image_size": "8"} | common
        )


def test_one_file_of_weights_for_two_models_is_refused_with_the_folder_of_several(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with torch.random.fork_rng(devices=[]):
        weights = zoo.create("resnet20", 10, image_size=8).state_dict()
    torch.save(weights, tmp_path / "plain.pt")
    common = {"dataset": "digits", "image_size": "8", "weights": str(tmp_path / "plain.pt")}
    with pytest.raises(
        ValueError, match=r"configuration custom_cnn: .* of another model"
    ) as refused:
        _plan(ComparisonSettings(vary="model=resnet20|custom_cnn", seeds=1), common)
    assert "weights=imagenet takes the file of each from" in str(refused.value)
    assert str(tmp_path / "hub" / "checkpoints") in str(refused.value)


def test_the_plan_says_what_is_taken_over():
    made = _plan(ComparisonSettings(vary="lr=0.1|0.2", seeds=2), DIGITS)
    text = describe(made, {made.children[0].key})
    assert "4 runs, 1 of them finished before, 3 to do" in text
    assert "(baseline, 1 of 2 finished)" in text
    assert text.endswith("3 seeds are needed for a test; 2 can show nothing")


def test_the_plan_says_what_its_seeds_can_show():
    made = _plan(ComparisonSettings(vary="lr=0.1|0.2|0.3", seeds=3), DIGITS)
    assert describe(made, set()).endswith(
        "3 seeds show a difference of 4.6 standard deviations of the paired difference with 80 % "
        "power (5 seeds 2.1, 10 seeds 1.1)"
    )
