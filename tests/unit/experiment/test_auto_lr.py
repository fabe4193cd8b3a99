import copy
import dataclasses

import numpy as np
import torch

from imbalance_study.experiment import auto_lr
from imbalance_study.experiment.setup.components import bind


def test_the_model_and_torchs_generators_stay_as_they_are(make_setup):
    setup = make_setup(lr="auto")
    before, generator = copy.deepcopy(setup.model.state_dict()), torch.get_rng_state()
    found = auto_lr.range_test(setup, setup.model, setup.parts.train)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(value, before[name]) for name, value in setup.model.state_dict().items())
    assert np.isfinite(found.suggestion)


def test_the_seed_of_the_run_decides_what_the_range_test_draws(make_setup):
    losses = [
        auto_lr.range_test(setup, setup.model, setup.parts.train).losses[:10]
        for setup in (make_setup(lr="auto", seed=seed) for seed in (0, 0, 1))
    ]
    np.testing.assert_array_equal(losses[0], losses[1])
    assert not np.array_equal(losses[0], losses[2])


def test_the_loss_of_the_run_is_tested(make_setup):
    setup = make_setup(lr="auto")
    config = dataclasses.replace(setup.config, loss="focal:gamma=5")
    focal = dataclasses.replace(setup, config=config, choices=bind(config))
    plain, other = (
        auto_lr.range_test(one, one.model, one.parts.train).losses[0] for one in (setup, focal)
    )
    assert other < plain / 2  # a sure guess weighs (1 - p)^5


def test_the_figure_shows_the_suggestion(make_setup, tmp_path):
    setup = make_setup(lr="auto")
    found = auto_lr.range_test(setup, setup.model, setup.parts.train)
    figure = auto_lr.figure(found)
    words = [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    assert any(f"{found.suggestion:.2g}" in word for word in words)
