import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from imbalance_study.models import pretrained, zoo
from imbalance_study.models.efficientnet_lite import SamePaddedConv2d, efficientnet_lite0


@pytest.fixture(scope="module")
def imagenet():
    """The network with its ImageNet weights, and the names of its classes."""
    model = zoo.create("efficientnet_lite0", 1000, image_size=224)
    source = pretrained.find("imagenet", "efficientnet_lite0")
    loaded = pretrained.put_into(model, source, source.class_names)
    return model.eval(), source, loaded


def _class_of(imagenet, image):
    """The most probable class of an image, cut to its centred square."""
    model, source, _ = imagenet
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    image = image.convert("RGB").crop((left, top, left + side, top + side))
    pixels = np.asarray(image.resize((224, 224), Image.Resampling.BICUBIC), np.float32)
    mean, std = np.float32(source.mean), np.float32(source.std)
    normal = torch.from_numpy((pixels / 255 - mean) / std).permute(2, 0, 1)[None]
    with torch.inference_mode():
        return source.class_names[int(model(normal).argmax())]


@pytest.mark.parametrize("side", [224, 112, 97, 32, 5])
def test_same_padding_gives_a_pixel_for_every_stride_and_adds_the_odd_one_behind(side):
    layer = SamePaddedConv2d(1, 1, 3, 2, bias=False)
    torch.nn.init.ones_(layer.weight)
    found = layer(torch.ones(1, 1, side, side))
    assert found.shape == (1, 1, -(-side // 2), -(-side // 2))
    # An even side lacks one pixel, on the right and below: the first window is whole.
    whole_at_the_start = found[0, 0, 0, 0] == 9
    assert whole_at_the_start == (side % 2 == 0)
    assert found[0, 0, -1, -1] == 4


def test_the_network_has_the_published_number_of_weights():
    model = efficientnet_lite0(1000)
    assert sum(weight.numel() for weight in model.parameters()) == 4_652_008
    assert len(model.state_dict()) == 296


def test_all_imagenet_weights_are_loaded_by_order_with_their_head_and_scale(imagenet):
    model, source, loaded = imagenet
    assert (loaded.by_order, loaded.new, loaded.left, loaded.head) == (True, [], [], "loaded")
    assert len(loaded.loaded) == 247
    assert source.image_size == 224
    assert [round(255 * value) for value in (*source.mean, *source.std)] == [127] * 3 + [128] * 3
    assert float(model.backbone[1].running_var.mean()) != 1


@pytest.mark.parametrize(("name", "expected"), [("flower.jpg", "daisy"), ("china.jpg", "palace")])
def test_photographs_get_the_class_that_a_person_would_give(imagenet, name, expected):
    assert _class_of(imagenet, Image.fromarray(load_sample_image(name))) == expected


@pytest.mark.realdata
def test_daisy_is_the_most_frequent_first_answer_on_daisies(imagenet):
    folder = Path(os.environ["IMBALANCE_STUDY_REAL_DATA"], "flowers", "daisy")
    answers = Counter(
        _class_of(imagenet, Image.open(file)) for file in sorted(folder.glob("*.jpg"))[:200]
    )
    (first, count), *_ = answers.most_common()
    assert first == "daisy"
    assert count > 60


def test_a_small_stem_is_refused_and_a_wrong_dropout_too():
    with pytest.raises(ValueError, match="has no small stem"):
        zoo.create("efficientnet_lite0", 3, image_size=32, stem="small")
    with pytest.raises(ValueError, match=r"dropout of model efficientnet_lite0 .* got 1"):
        zoo.create("efficientnet_lite0:dropout=1", 3, image_size=32)
