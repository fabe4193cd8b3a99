import numpy as np
import pytest
import torch

from imbalance_study.experiment.analyses import attribution, saliency


@pytest.fixture
def view(make_context):
    """The small model, and images for it."""
    context = make_context()
    return attribution.view_of(context), context


def test_a_view_normalises_and_predicts_as_the_run_does(view):
    view, context = view
    images = context.images(np.arange(5))
    np.testing.assert_allclose(view.probs(images), context.probs[:5], rtol=1e-5)
    black = -context.data.mean / context.data.std
    torch.testing.assert_close(view.black.flatten(), torch.tensor(black, dtype=torch.float32))


def test_layers_are_the_last_all_or_those_that_are_named(view):
    model = view[0].model
    assert saliency.layers_of(model, "auto") == model.cam_layers[-1:]
    assert saliency.layers_of(model, "all") == model.cam_layers
    (layer,) = model.cam_layers
    assert saliency.layers_of(model, f" {layer} ") == (layer,)
    with pytest.raises(ValueError, match="must name layers that give maps, joined by"):
        saliency.layers_of(model, f"{layer}+classifier")


def test_grad_cam_has_a_map_for_each_class_of_each_image(view):
    view, context = view
    classes = np.array([[0, 1], [2, 0]])
    maps = saliency.gradcam_maps(view, context.images(np.arange(2)), classes, "backbone.0")
    assert maps.shape[:2] == (2, 2)
    swapped = saliency.gradcam_maps(view, context.images(np.arange(2)), classes[:, ::-1],
                                    "backbone.0")  # fmt: skip
    np.testing.assert_allclose(maps[:, 0], swapped[:, 1])


def test_occlusion_watches_the_probability_of_the_class(view):
    view, context = view
    classes = np.array([0, 2])
    found = saliency.occlusion(view, context.images(np.arange(2)), classes)
    np.testing.assert_allclose(found.whole, context.probs[[0, 1], classes], atol=1e-5)
