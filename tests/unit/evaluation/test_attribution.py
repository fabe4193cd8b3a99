import numpy as np
import pytest
import torch
from torch import nn

from imbalance_study.evaluation import attribution
from imbalance_study.models import zoo

BLACK = torch.zeros(3, 1, 1)


class OneCorner(nn.Module):
    def forward(self, maps):
        seen = torch.zeros_like(maps)
        height, width = maps.shape[2] // 2, maps.shape[3] // 2
        seen[:, :, :height, :width] = maps[:, :, :height, :width]
        return seen


class LooksAtOneCorner(nn.Module):
    """Class 1 is the redness of the upper left quarter; the rest of the image has no effect."""

    def __init__(self):
        super().__init__()
        self.corner = OneCorner()
        self.convolution = nn.Conv2d(3, 2, 3, padding=1)
        self.linear = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.convolution.weight[:, :, 1, 1] = torch.tensor([[2.0, 0, 0], [0, 1, 1]])
            self.linear.weight[:] = torch.tensor([[-9.0, 0], [9, 0]])

    def forward(self, images):
        return self.linear(self.convolution(self.corner(images)).relu().mean((2, 3)))


class LooksAtOnePixel(nn.Module):
    def __init__(self, row, column):
        super().__init__()
        self.row, self.column = row, column

    def forward(self, images):
        seen = images[:, 0, self.row, self.column]
        return torch.stack([torch.zeros_like(seen), seen], dim=1)


class TwoLayers(nn.Module):
    """Convolution of two channels, global mean, linear: small enough for a hand."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 1)
        self.dropout = nn.Dropout(0.5)
        self.relu = nn.ReLU(inplace=True)
        self.linear = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.convolution.weight.zero_()
            self.convolution.weight[0, 0] = 1
            self.convolution.weight[1, 1] = 1
            self.convolution.bias.zero_()
            self.linear.weight[:] = torch.tensor([[2.0, -4.0], [-1.0, 3.0]])

    def forward(self, images):
        return self.linear(self.dropout(self.relu(self.convolution(images))).mean((2, 3)))


def an_image():
    first = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    second = torch.tensor([[1.0, 0.5], [2.0, 0.0]])
    return torch.stack([first, second, torch.zeros(2, 2)])[None]


def test_grad_cam_is_the_map_computed_by_hand():
    # The gradient of logit c by channel k is w_ck / 4 everywhere: the map is sum_k w_ck A_k / 4.
    maps = attribution.grad_cam(TwoLayers(), an_image().repeat(2, 1, 1, 1), [0, 1], "relu")
    np.testing.assert_allclose(maps[0], [[0, 0.5], [0, 2.0]], atol=1e-6)
    np.testing.assert_allclose(maps[1], [[0.5, 0], [0.75, 0]], atol=1e-6)


def test_grad_cam_before_an_in_place_relu_counts_only_what_passes_it():
    images = an_image()
    images[0, 0] -= 2.5
    maps = attribution.grad_cam(TwoLayers(), images, [0], "convolution")
    # Half of channel 0 is negative there and gets no gradient: its mean weight is 2 / 4 / 2.
    expected = 0.25 * images[0, 0] - 4 / 4 * 0.75 * images[0, 1]
    np.testing.assert_allclose(maps[0], expected.relu(), atol=1e-6)


def test_grad_cam_works_for_frozen_weights_and_under_no_grad_and_inference_mode():
    model = TwoLayers().requires_grad_(False)
    plain = attribution.grad_cam(model, an_image(), [1], "relu")
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            images = an_image()
            np.testing.assert_array_equal(attribution.grad_cam(model, images, [1], "relu"), plain)


def test_grad_cam_of_many_images_is_that_of_each_one():
    images = torch.rand(attribution.BATCH + 3, 3, 4, 4)
    classes = torch.arange(len(images)) % 2
    model = TwoLayers()
    maps = attribution.grad_cam(model, images, classes, "relu")
    assert maps.shape == (len(images), 4, 4)
    last = attribution.grad_cam(model, images[-1:], classes[-1:], "relu")
    np.testing.assert_allclose(maps[-1:], last, atol=1e-6)


def test_explaining_leaves_the_model_as_it_was():
    model = TwoLayers().train()
    model.relu.eval()
    found = attribution.grad_cam(model, an_image(), [0], "relu")
    np.testing.assert_allclose(found[0], [[0, 0.5], [0, 2.0]], atol=1e-6)  # without dropout
    attribution.occlusion(model, an_image(), [0], BLACK)
    assert model.training
    assert model.dropout.training
    assert not model.relu.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_layer_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(ValueError, match=r"'conv' is not in the model.*convolution, dropout"):
        attribution.grad_cam(TwoLayers(), an_image(), [0], "conv")


def test_a_layer_without_maps_is_refused():
    with pytest.raises(ValueError, match=r"'linear' must give maps .* got shape \(1, "):
        attribution.grad_cam(TwoLayers(), an_image(), [0], "linear")


@pytest.mark.parametrize(
    ("image_size", "window"), [(224, (30, 20)), (32, (4, 3)), (128, (17, 11)), (1, (1, 1))]
)
def test_the_window_scales_with_the_image(image_size, window):
    assert attribution.occlusion_window(image_size) == window


@pytest.mark.parametrize("place", [(9, 20), (0, 0), (31, 31)])
def test_occlusion_of_a_model_that_looks_at_one_pixel_is_where_the_pixel_is(place):
    images = torch.full((1, 3, 32, 32), 2.0)
    found = attribution.occlusion(LooksAtOnePixel(*place), images, [1], BLACK)
    seen, hidden = torch.tensor([0.0, 2.0]).softmax(0)[1], 0.5
    assert found.whole == pytest.approx(seen.item())
    side, _ = attribution.occlusion_window(32)
    far = [
        (row, column)
        for row in range(32)
        for column in range(32)
        if max(abs(row - place[0]), abs(column - place[1])) >= side
    ]
    assert all(abs(found.drop[0, row, column]) < 1e-6 for row, column in far)
    assert found.drop[0].max() == pytest.approx(seen.item() - hidden, abs=1e-6)
    assert found.drop[0][place] > 0
    np.testing.assert_allclose(found.probability, found.whole - found.drop, atol=1e-6)
    assert found.probability[0].min() == pytest.approx(hidden, abs=1e-6)


def test_occlusion_hides_with_the_given_black_in_each_image():
    images = torch.full((2, 3, 8, 8), 2.0)
    black = torch.tensor([5.0, -1.0, -1.0]).view(3, 1, 1)
    found = attribution.occlusion(LooksAtOnePixel(4, 4), images, [1, 0], black)
    gain = torch.tensor([0.0, 5.0]).softmax(0)[1] - torch.tensor([0.0, 2.0]).softmax(0)[1]
    assert found.drop[0].min() == pytest.approx(-gain.item(), abs=1e-6)
    assert found.drop[1].max() == pytest.approx(gain.item(), abs=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (33, 20)])
def test_occlusion_covers_images_of_any_shape(shape):
    images = torch.full((1, 3, *shape), 2.0)
    found = attribution.occlusion(LooksAtOnePixel(0, 0), images, [1], BLACK)
    assert found.drop.shape == (1, *shape)
    assert found.drop[0, 0, 0] > 0.3


def test_everything_points_to_the_corner_that_the_planted_model_looks_at():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LooksAtOneCorner()
    size = 16
    images = torch.rand(6, 3, size, size, generator=torch.Generator().manual_seed(0))
    inside = np.zeros((size, size), bool)
    inside[: size // 2, : size // 2] = True
    classes = [1] * 6
    cam = attribution.grad_cam(model, images, classes, "convolution")
    hidden = attribution.occlusion(model, images, classes, BLACK)
    for maps in (cam, hidden.drop):
        peaks = [np.unravel_index(each.argmax(), each.shape) for each in maps]
        assert all(inside[peak] for peak in peaks)
        shown = np.maximum(maps, 0)
        assert (shown[:, inside].sum(1) > 3 * shown[:, ~inside].sum(1)).all()
        score = attribution.deletion_score(
            model, images, classes, maps, BLACK, torch.Generator().manual_seed(0)
        )
        assert (score.salient > 0).all()
        assert score.salient.mean() > 2 * score.random.mean()
        assert score.fraction == pytest.approx(0.1, abs=0.005)


def test_deletion_of_the_one_pixel_that_counts_takes_the_whole_probability():
    count = 600
    images = torch.full((count, 3, 10, 10), 3.0)
    saliency = np.zeros((count, 10, 10), np.float32)
    saliency[:, 2, 7] = 1
    model, generator = LooksAtOnePixel(2, 7), torch.Generator().manual_seed(1)
    score = attribution.deletion_score(
        model, images, [1] * count, saliency, BLACK, generator, fraction=0.01
    )
    fall = torch.tensor([0.0, 3.0]).softmax(0)[1].item() - 0.5
    np.testing.assert_allclose(score.salient, fall, atol=1e-6)
    assert score.random.mean() == pytest.approx(fall / 100, rel=0.5)


def test_a_random_place_hides_as_many_pixels_of_the_same_shape():
    masks = torch.zeros(2, 5, 6, dtype=torch.bool)
    masks[:, 1:3, 2:5] = True
    moved = attribution._rolled(masks, torch.tensor([0, 3]), torch.tensor([0, 2]))
    assert torch.equal(moved[0], masks[0])
    assert torch.equal(moved[1], masks[1].roll((3, 2), (0, 1)))


@pytest.mark.parametrize("fraction", [0.0, 1.0, 20])
def test_a_fraction_that_hides_nothing_or_everything_is_refused(fraction):
    with pytest.raises(ValueError, match="fraction must be between 0 and 1"):
        attribution.deletion_score(
            TwoLayers(),
            an_image(),
            [0],
            np.ones((1, 2, 2), np.float32),
            BLACK,
            torch.Generator(),
            fraction=fraction,
        )


def test_feature_maps_are_the_activations_of_the_liveliest_channels():
    maps, channels = attribution.feature_maps(TwoLayers(), an_image(), "relu", channels=2)
    assert channels.tolist() == [0, 1]
    np.testing.assert_array_equal(maps, an_image()[:, :2])
    maps, channels = attribution.feature_maps(TwoLayers(), an_image() * 0, "relu", channels=9)
    assert maps.shape == (1, 2, 2, 2)


def test_grey_and_constant_images_are_explained_by_finite_maps():
    for value in (0.0, 1.0):
        images = torch.full((1, 3, 8, 8), value)
        cam = attribution.grad_cam(TwoLayers(), images, [0], "relu")
        hidden = attribution.occlusion(TwoLayers(), images, [0], BLACK)
        assert np.isfinite(cam).all()
        assert np.isfinite(hidden.drop).all()


def test_maps_are_stretched_to_the_image():
    maps = attribution.upsampled(np.array([[[0.0, 1.0]]], np.float32), 2, 4)
    np.testing.assert_allclose(maps, [[[0, 0.25, 0.75, 1]] * 2])


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "resnet32",
        "efficientnet_b0",
        "mobilenet_v2",
        "mobilenet_v3_large",
        pytest.param("vgg16", marks=pytest.mark.slow),
        "custom_cnn",
    ],
)
def test_the_first_choice_map_of_a_named_model_is_no_constant_at_32_pixels(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = zoo.create(name, 10, image_size=32).eval()
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        predictions = model(images).argmax(1)
    maps = attribution.grad_cam(model, images, predictions, model.cam_layers[-1])
    assert min(maps.shape[1:]) >= 4
    uneven = np.ptp(maps, axis=(1, 2)) > 0.1 * maps.max(axis=(1, 2))
    assert uneven.sum() >= 3
