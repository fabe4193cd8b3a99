import copy
import dataclasses

import numpy as np
import pytest
import torch

from imbalance_study.config.resolve import make
from imbalance_study.experiment import auto_lr
from imbalance_study.experiment.setup import procedures, seeding
from imbalance_study.experiment.setup.components import bind
from imbalance_study.experiment.setup.data import batches_of
from imbalance_study.experiment.setup.inputs import load_inputs
from imbalance_study.experiment.setup.model import build_model
from imbalance_study.training import lr_range_test


def test_the_average_has_no_bias_towards_zero():
    np.testing.assert_allclose(lr_range_test.smooth([3.0] * 20), 3.0)
    found = lr_range_test.smooth([1.0, 2.0])
    np.testing.assert_allclose(found, [1.0, (0.9 * 0.1 * 1 + 0.1 * 2) / (1 - 0.81)])


def test_the_suggestion_is_a_third_of_the_rate_with_the_smallest_loss():
    lrs = np.geomspace(1e-4, 1, 41)
    losses = np.abs(np.log(lrs / 0.1)) + 1
    assert lr_range_test.suggest(lrs, losses) == pytest.approx(0.033)


def test_a_curve_that_ends_at_once_is_no_curve():
    with pytest.raises(
        ValueError, match=r"ended after 3 steps, at lr 0.01: the loss is not finite"
    ):
        lr_range_test.suggest(np.array([1e-3, 5e-3, 1e-2]), np.ones(3))


@pytest.fixture(scope="module")
def setting():
    config = make(
        dataset="digits", model="small_nets:explosive", image_size=8, lr="auto",
        class_weights="balanced", defer=0.5, batch_size=8, ema=True, sampler="shuffle",
    )  # fmt: skip
    inputs = load_inputs(config)
    with torch.random.fork_rng([]):
        model = build_model(inputs)
    train = batches_of(inputs.data, "train", config, inputs.device_setup.device)
    return inputs, model, train


@pytest.fixture(scope="module")
def found(setting):
    return auto_lr.range_test(*setting)


def test_a_range_test_rises_until_the_loss_explodes_and_leaves_no_trace(setting, found):
    _, model, _ = setting
    state = copy.deepcopy(model.state_dict())
    generator = torch.get_rng_state()
    again = auto_lr.range_test(*setting)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    ratios = found.lrs[1:] / found.lrs[:-1]
    np.testing.assert_allclose(ratios, ratios[0])
    assert ratios[0] == pytest.approx(1e7 ** (1 / 140))
    assert found.lrs[0] == pytest.approx(1e-6, rel=0.1)
    assert found.diverged
    assert len(found.lrs) < 140
    assert 1e-4 < found.suggestion < 0.5
    assert again.suggestion == found.suggestion
    np.testing.assert_array_equal(again.losses, found.losses)


def test_deferred_weights_are_left_out_of_the_test(setting, found):
    inputs, model, train = setting
    plain = make(
        dataset="digits",
        model="small_nets:explosive",
        image_size=8,
        lr="auto",
        ema=True,
        batch_size=8,
    )
    other = auto_lr.range_test(
        dataclasses.replace(inputs, config=plain, choices=bind(plain)), model, train
    )
    np.testing.assert_array_equal(other.losses, found.losses)


@pytest.mark.parametrize("wrong", [{"lowest": 0}, {"lowest": 2, "highest": 1}, {"steps": 5}])
def test_a_wrong_range_is_refused(setting, wrong):
    inputs, model, train = setting
    procedure = procedures.first(inputs, copy.deepcopy(model), 0.1)
    with pytest.raises(ValueError, match="needs 0 < lowest < highest and 10 steps"):
        lr_range_test.range_test(model, train, procedure, seeds=seeding.seeds(0), **wrong)
