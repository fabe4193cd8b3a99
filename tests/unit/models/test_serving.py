import numpy as np
import pytest
import torch
from torch import nn

from imbalance_study.models.serving import (
    RawImageClassifier,
    preprocessing,
    scale_and_shift,
)

MEAN, STD = (0.5, 0.4, 0.2), (0.25, 0.2, 0.1)


class MeanColour(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))


def raw_images(count: int = 4) -> torch.Tensor:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 6, 5, 3), np.uint8)
    return torch.from_numpy(pixels)


def test_pixels_are_normalised_as_by_the_definition() -> None:
    scale, shift = scale_and_shift(MEAN, STD)
    pixels = torch.tensor([0.0, 51.0, 255.0]).view(1, 3, 1, 1)
    expected = [(0 - 0.5) / 0.25, (0.2 - 0.4) / 0.2, (1 - 0.2) / 0.1]
    torch.testing.assert_close((pixels * scale + shift).flatten(), torch.tensor(expected))
    assert scale.dtype == shift.dtype == torch.float32


def test_raw_images_become_probabilities_of_the_normalised_ones() -> None:
    model = RawImageClassifier(MeanColour(), lambda logits: logits.softmax(1), MEAN, STD)
    images = raw_images()
    shares = images.double().div(255).permute(0, 3, 1, 2).mean((2, 3))
    logits = (shares - torch.tensor(MEAN).double()) / torch.tensor(STD).double()
    torch.testing.assert_close(model(images).double(), logits.softmax(1), atol=1e-5, rtol=1e-5)


def test_an_image_is_classified_alike_alone_and_in_a_batch() -> None:
    model = RawImageClassifier(MeanColour(), lambda logits: logits.softmax(1), MEAN, STD)
    images = raw_images()
    alone = torch.cat([model(images[i : i + 1]) for i in range(len(images))])
    assert torch.equal(alone, model(images))


def test_the_normalisation_is_saved_with_the_model() -> None:
    model = RawImageClassifier(MeanColour(), lambda logits: logits, MEAN, STD)
    other = RawImageClassifier(MeanColour(), lambda logits: logits, (0, 0, 0), (1, 1, 1))
    assert not torch.equal(model(raw_images()), other(raw_images()))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(raw_images()), other(raw_images()))


def test_logits_in_low_precision_become_float32_probabilities() -> None:
    network = nn.Sequential(MeanColour(), nn.Linear(3, 2)).bfloat16()

    class Low(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return network(images.bfloat16())

    model = RawImageClassifier(Low(), lambda logits: logits.softmax(1), MEAN, STD)
    probs = model(raw_images())
    assert probs.dtype == torch.float32
    assert probs.sum(1).tolist() == pytest.approx([1.0] * 4)


def test_the_preprocessing_names_the_side_the_fit_and_the_range_of_the_images() -> None:
    said = preprocessing(32, {})
    assert "uint8 (N, 32, 32, 3)" in said
    assert "largest centred square" in said
    assert "8 bits" not in said
    said = preprocessing(48, {"fit": "pad", "whole": (300, 4000)})
    assert "its longer side resized to 48" in said
    assert "more than 8 bits from 300 to 4000 scaled to 0 to 255" in said
