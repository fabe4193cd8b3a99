import copy

import numpy as np
import pytest
import torch

from imbalance_study import learning_rates, prepare, stages
from imbalance_study.decisions import make
from imbalance_study.training import lr_finder


def test_the_average_has_no_bias_towards_zero():
    np.testing.assert_allclose(lr_finder.smooth([3.0] * 20), 3.0)
    found = lr_finder.smooth([1.0, 2.0])
    np.testing.assert_allclose(found, [1.0, (0.9 * 0.1 * 1 + 0.1 * 2) / (1 - 0.81)])


def test_the_suggestion_is_a_third_of_the_rate_with_the_smallest_loss():
    lrs = np.geomspace(1e-4, 1, 41)
    losses = np.abs(np.log(lrs / 0.1)) + 1
    assert lr_finder.suggest(lrs, losses) == pytest.approx(0.033)


def test_a_curve_that_ends_at_once_is_no_curve():
    with pytest.raises(
        ValueError, match=r"ended after 3 steps, at lr 0.01: the loss is not finite"
    ):
        lr_finder.suggest(np.array([1e-3, 5e-3, 1e-2]), np.ones(3))


@pytest.fixture(scope="module")
def setting():
    config = make(
        dataset="digits", model="resnet20", image_size=8, lr="auto", class_weights="balanced",
        defer=0.5, batch_size=8, ema=True, sampler="shuffle",
    )  # fmt: skip
    choices, where = prepare.bind(config), prepare.machine(config)
    data = prepare.load_data(config, choices)
    with torch.random.fork_rng([]):
        model = prepare.build_model(config, data, where)
    return config, choices, data, model, where, prepare.part(data, "train", config, where.device)


@pytest.fixture(scope="module")
def found(setting):
    return learning_rates.range_test(*setting)


def test_a_range_test_rises_until_the_loss_explodes_and_leaves_no_trace(setting, found):
    model = setting[3]
    state = copy.deepcopy(model.state_dict())
    generator = torch.get_rng_state()
    again = learning_rates.range_test(*setting)
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
    data, model, where, train = setting[2:]
    plain = make(
        dataset="digits", model="resnet20", image_size=8, lr="auto", ema=True, batch_size=8
    )
    other = learning_rates.range_test(plain, prepare.bind(plain), data, model, where, train)
    np.testing.assert_array_equal(other.losses, found.losses)


@pytest.mark.parametrize("wrong", [{"lowest": 0}, {"lowest": 2, "highest": 1}, {"steps": 5}])
def test_a_wrong_range_is_refused(setting, wrong):
    config, choices, data, model, where, train = setting
    procedure = stages.first(config, choices, data, copy.deepcopy(model), where)
    with pytest.raises(ValueError, match="needs 0 < lowest < highest and 10 steps"):
        lr_finder.range_test(model, train, procedure, seeds=prepare.seeds(0), **wrong)
