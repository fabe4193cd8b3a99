import numpy as np
import pytest
import torch

from imbalance_study.experiment.analyses import reconstruction
from imbalance_study.experiment.setup.model import build_model
from imbalance_study.models.autoencoder import encode_decode


@pytest.fixture
def setup(make_inputs, make_setup):
    """A run of a small U-Net with its decoder."""
    options = {"model": "unet:width=4", "image_size": 16, "autoencoder": "joint"}
    with torch.random.fork_rng([]):
        model = build_model(make_inputs(**options))
    return make_setup(model, **options)


def test_the_error_is_the_mean_square_over_all_numbers_of_the_test_images(make_data, setup):
    test, model = setup.parts.test, setup.model
    result = reconstruction.reconstruct(setup, model, setup.procedure, test)
    images = setup.data.image_set.images[setup.data.split.test]
    inputs = setup.procedure.normalise(torch.from_numpy(images).permute(0, 3, 1, 2))
    with torch.inference_mode():
        drawn = encode_decode(model.eval(), inputs)[1]
    error = float(((drawn - inputs) ** 2).mean())
    assert result.metrics["reconstruction/test_mse"] == pytest.approx(error, rel=1e-4)
    variance = float(np.var(inputs.numpy()))
    assert result.metrics["reconstruction/test_variance"] == pytest.approx(variance, rel=1e-4)
    assert list(result.figures) == ["reconstructions"]


def test_a_model_without_decoder_has_no_findings(make_setup):
    setup = make_setup()
    result = reconstruction.reconstruct(setup, setup.model, setup.procedure, setup.parts.test)
    assert (result.metrics, result.figures) == ({}, {})
