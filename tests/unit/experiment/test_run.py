import pytest
import torch

from imbalance_study.config.resolve import make
from imbalance_study.experiment import run as experiment
from imbalance_study.experiment.result import RunResult, RunStart

SMALL = {
    "dataset": "digits",
    "model": "small_nets:conv",
    "image_size": 8,
    "epochs": 2,
    "steps_per_epoch": 2,
    "batch_size": 8,
    "analyses": "none",
    "device": "cpu",
}


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """The result of a small run, and all that it reported."""
    seen = []
    folder = tmp_path_factory.mktemp("run")
    config = make(**SMALL, class_weights="balanced")
    return experiment.run(config, seen.append, output_dir=folder, show_progress=False), seen


def test_a_run_reports_its_start_and_each_epoch(reported):
    result, (start, *epochs) = reported
    assert isinstance(start, RunStart)
    assert start.facts is result.facts
    assert set(start.draw()) == {"class_distribution", "augmented_samples"}
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    assert [epoch.metrics for epoch in epochs] == [epoch.metrics for epoch in result.history]


def test_its_result_holds_the_setup_that_was_built_once(reported):
    result, _ = reported
    assert isinstance(result, RunResult)
    assert result.setup.model is result.model
    assert result.setup.procedure is result.procedure
    assert result.metrics["train/steps"] == 4
    assert result.analysis.metrics == {}


def test_a_run_leaves_torchs_generators_and_threads_as_they_were(tmp_path):
    before = torch.get_rng_state()
    experiment.run_without_test(make(**SMALL | {"epochs": 1}), show_progress=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_callback_can_end_a_run(tmp_path):
    class Enough(Exception):
        pass

    def stop(result):
        if result.epoch == 1:
            raise Enough

    with pytest.raises(Enough):
        experiment.run(make(**SMALL), stop, output_dir=tmp_path, show_progress=False, draw=False)
    assert not list(tmp_path.iterdir())


def test_without_figures_the_start_carries_none():
    seen = []
    experiment.run_without_test(make(**SMALL | {"epochs": 1}), seen.append, show_progress=False)
    assert seen[0].draw() == {}
    assert seen[0].facts.images["test"] > 0
