"""Networks of a few layers, for runs whose network does not matter: ``small_nets:conv``."""

from torch import nn


def conv(num_classes: int, *, width: int = 16) -> nn.Module:
    """A convolution with batch norm, and a linear head."""
    body = nn.Conv2d(3, width, 3, stride=2), nn.BatchNorm2d(width), nn.ReLU()
    return nn.Sequential(
        *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes)
    )


def explosive(num_classes: int) -> nn.Module:
    """Linear layers one after the other, which a large learning rate makes explode."""
    body = nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.Flatten()
    return nn.Sequential(*body, nn.Linear(72, 32), nn.Linear(32, 32), nn.Linear(32, num_classes))
