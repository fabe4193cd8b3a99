"""Contract of all models: features, a head, and the layers for Grad-CAM."""

from __future__ import annotations

from functools import cached_property
from typing import cast

from torch import Tensor, nn

from imbalance_study.models.feature_maps import layer_maps, token_layer
from imbalance_study.models.heads import make_head

MIN_CAM_SIDE = 4


class Classifier(nn.Module):
    """A network cut before its last Linear, into ``backbone`` and ``classifier``.

    The backbone is the given model with that Linear replaced by the identity, so it returns the
    input of the Linear: the penultimate, pooled features. Parameters keep the given model's names
    behind ``backbone.``; those of the last Linear are called ``classifier.`` in place of their
    former name (`head_name`). A Linear without bias is given one of zeros.

    Attributes:
        num_features: F, the width of the features.
        num_classes: C.
        head_name: Where in the given model the last Linear was, such as "classifier.1".
        image_size: Side in pixels of the images that the model takes.
        stem: "small" or "imagenet" where the zoo knows it, "auto" for a user's own model.
        decoder: The decoder of an autoencoder, while it trains; see `autoencoder.encode_decode`.
            `forward` does not use it.
        takes_features: It takes features (N, F) in place of images; see `on_features`.
    """

    decoder: nn.Module | None
    takes_features = False

    def __init__(
        self, model: nn.Module, *, image_size: int, stem: str = "auto", last: str = ""
    ) -> None:
        """Cut `model` before the Linear called `last`; without a name, before its last one."""
        super().__init__()
        self.head_name, last_layer = _last_linear(model, last)
        model.set_submodule(self.head_name, nn.Identity())
        if last_layer.bias is None:
            last_layer.bias = nn.Parameter(last_layer.weight.new_zeros(last_layer.out_features))
        self.backbone = model
        self.classifier: nn.Module = last_layer
        self.num_features, self.num_classes = last_layer.in_features, last_layer.out_features
        self.image_size, self.stem = image_size, stem
        self.decoder = None

    def forward_features(self, images: Tensor) -> Tensor:
        """Return penultimate features (N, F) of normalised images (N, 3, H, W)."""
        features: Tensor = self.backbone(images)
        return features

    def forward_head(self, features: Tensor) -> Tensor:
        """Return logits (N, C) of features (N, F); cosines in [-1, 1] of a cosine head."""
        logits: Tensor = self.classifier(features)
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, C) of normalised images (N, 3, H, W)."""
        return self.forward_head(self.forward_features(images))

    def get_classifier(self) -> nn.Module:
        """Return the head."""
        return self.classifier

    def drop_hidden_layers(self) -> None:
        """Cut before the fully connected layers that lead to the last Linear, not only before it.

        The features are then the pooled maps: 512 numbers of a VGG, whose own pooling to 7x7 maps
        becomes one to 1x1, and 960 of mobilenet_v3_large. Where the last Linear has no others
        beside it in one Sequential, nothing changes.
        """
        parent = self.head_name.rpartition(".")[0]
        layers = self.backbone.get_submodule(parent) if parent else None
        if type(layers) is not nn.Sequential:
            return
        linears = [layer for layer in layers if isinstance(layer, nn.Linear)]
        if not linears:
            return
        self.backbone.set_submodule(parent, nn.Identity())
        self.num_features = linears[0].in_features
        pool = getattr(self.backbone, "avgpool", None)
        if isinstance(pool, nn.AdaptiveAvgPool2d) and pool.output_size not in (1, (1, 1)):
            height, width = cast(tuple[int, int], pool.output_size)
            self.backbone.set_submodule("avgpool", nn.AdaptiveAvgPool2d(1))
            self.num_features //= height * width

    def reset_classifier(self, num_classes: int, head: str = "linear") -> None:
        """Put a new head for `num_classes` in place, drawn from torch's default generator.

        Raises:
            ValueError: An unknown head, or fewer than two classes.
        """
        old = next(self.classifier.parameters())
        self.classifier = make_head(head, self.num_features, num_classes).to(old.device, old.dtype)
        self.num_classes = num_classes

    def on_features(self) -> Classifier:
        """Return a classifier of the features (N, F) of this one, which shares its head.

        Nothing is left of the backbone. A frozen one drops nothing, not before its head either.
        """
        made = self._with(nn.Identity(), self.classifier)
        made.takes_features = True
        return made

    def with_head_of(self, other: Classifier) -> Classifier:
        """Return a classifier with the backbone of this one and the head of another, shared."""
        return self._with(self.backbone, other.classifier)

    def _with(self, backbone: nn.Module, head: nn.Module) -> Classifier:
        made = Classifier.__new__(Classifier)
        nn.Module.__init__(made)
        made.backbone, made.classifier, made.decoder = backbone, head, None
        for name in ("head_name", "num_features", "num_classes", "image_size", "stem"):
            setattr(made, name, getattr(self, name))
        made.training = self.training  # of this module alone: the others are shared
        return made

    @cached_property
    def cam_layers(self) -> tuple[str, ...]:
        """Names for ``get_submodule`` of the layers to explain; the last is the default."""
        return cam_layers_at(self, self.image_size)


def cam_layers_at(model: nn.Module, image_size: int) -> tuple[str, ...]:
    """Return the last layer of each resolution down to 4x4, from fine to coarse.

    Resolutions are those for images of `image_size`. Coarser maps explain nothing: the last map of
    efficientnet_b0 at 32 px is 1x1, so the last layer named is an earlier one of 4x4. In a vision
    transformer, which carries tokens, the last one named is the norm before its last attention.
    Empty where no layer gives a map.
    """
    last = {side: name for name, side in layer_maps(model, image_size) if side >= MIN_CAM_SIDE}
    names = [last[side] for side in sorted(last, reverse=True)]
    tokens = token_layer(model, image_size)
    if tokens is not None and tokens[1] >= MIN_CAM_SIDE:
        names.append(tokens[0])
    return tuple(names)


def _last_linear(model: nn.Module, named: str) -> tuple[str, nn.Linear]:
    linears = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear) and n]
    linears = [(n, m) for n, m in linears if n == named or not named]
    if not linears:
        raise ValueError("a model needs a torch.nn.Linear as its last layer, got none")
    return linears[-1]
