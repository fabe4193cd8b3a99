"""Stems: the resolution that the first layers of torchvision's classifiers keep.

Their own stems are made for 224 px and halve the map two to five times before most layers.
"""

from __future__ import annotations

from torch import nn

SMALL_IMAGE = 64

# First convolution, and the max-pool behind it if the family has one.
_STEMS = {
    "densenet": ("features.conv0", "features.pool0"),
    "efficientnet": ("features.0.0", ""),
    "mnasnet": ("layers.0", ""),
    "mobilenet": ("features.0.0", ""),
    "regnet": ("stem.0", ""),
    "resnet": ("conv1", "maxpool"),
    "resnext": ("conv1", "maxpool"),
    "shufflenet": ("conv1.0", "maxpool"),
    "wide_resnet": ("conv1", "maxpool"),
}
_SMALL_BY_DEFAULT = ("resnet", "resnext", "wide_resnet", "vgg")


def resolve(name: str, stem: str, image_size: int) -> str:
    """Turn "auto" into "small" or "imagenet" for a torchvision classifier.

    "auto" is small up to 64 px for ResNets, as is usual, and for VGGs, whose own head has 120
    million weights and sees at 32 px 49 copies of one pixel. Others keep torchvision's own stem,
    which at 32 px makes them two to three times as fast to train on a CPU.

    Raises:
        ValueError: stem is "small" and this family has none.
    """
    if stem == "auto":
        small = name.startswith(_SMALL_BY_DEFAULT) and image_size <= SMALL_IMAGE
        return "small" if small else "imagenet"
    if stem == "small" and not name.startswith((*_STEMS, "vgg")):
        raise ValueError(f"{name} has no small stem; use stem=auto or stem=imagenet")
    return stem


def shrink(name: str, model: nn.Module) -> None:
    """Give a torchvision classifier its small stem, in place.

    The first convolution gets stride 1, and 3x3 weights where it had 7x7, drawn as He et al. 2015
    do by fan-out; the max-pool behind it goes. A VGG, which has neither, keeps its five poolings
    (32 px end as 1x1) but averages the last map to 1x1 in place of 7x7, and has one hidden layer
    of 512 in place of two of 4,096: 512-512-C, with the dropout of the large one.
    """
    if name.startswith("vgg"):
        _shrink_vgg_head(model)
        return
    conv_name, pool_name = next(names for key, names in _STEMS.items() if name.startswith(key))
    conv = model.get_submodule(conv_name)
    assert isinstance(conv, nn.Conv2d)
    if conv.kernel_size == (7, 7):
        small = nn.Conv2d(3, conv.out_channels, 3, padding=1, bias=conv.bias is not None)
        nn.init.kaiming_normal_(small.weight, mode="fan_out", nonlinearity="relu")
        model.set_submodule(conv_name, small)
    conv.stride = (1, 1)
    if pool_name:
        model.set_submodule(pool_name, nn.Identity())


def _shrink_vgg_head(vgg: nn.Module) -> None:
    dropout, last = vgg.get_submodule("classifier.2"), vgg.get_submodule("classifier.6")
    assert isinstance(last, nn.Linear)
    hidden, output = nn.Linear(512, 512), nn.Linear(512, last.out_features)
    for layer in (hidden, output):
        nn.init.normal_(layer.weight, 0, 0.01)
        nn.init.zeros_(layer.bias)
    vgg.set_submodule("avgpool", nn.AdaptiveAvgPool2d(1))
    vgg.set_submodule("classifier", nn.Sequential(hidden, nn.ReLU(), dropout, output))
