"""A choice of an option: its help, the address of its function, and traits that rules ask for."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

Trait = Literal[
    "correcting",  # a loss with the class counts in it: no other correction beside it
    "cosine",  # a loss on cosines, which needs head=cosine
    "sigmoid",  # a loss with one sigmoid for each class: no softmax, and the bias begins low
    "smoothable",  # a loss that takes label_smoothing
    "searched",  # a study searches it
    "uses_validation",  # it follows a metric of the validation images
    "own_test_set",  # a data set with test images of its own
    "decoder",  # a model with a decoder, for autoencoder
    "small_stem",  # a model for small images alone
    "imagenet_stem",  # a model with the stem for large images alone
    "pooled",  # a head on the pooled maps, in place of the hidden layers of the model
    "standard",  # an analysis of the group standard
    "layers",  # an analysis that looks at gradcam_layers
    "coloured",  # an analysis that draws with colormap
    "part",  # an analysis that another one contains
]


@dataclasses.dataclass(frozen=True)
class Choice:
    """One value of an option.

    Attributes:
        about: One line of help.
        address: ``module:function``; empty where nothing is called.
        options: The options worth naming, with a value each, as typed: ``max_m=0.5,s=30``.
        paper: Reference: ``Lin et al. 2017, arXiv:1708.02002``, or with an https address.
        traits: Properties that rules ask for.
    """

    about: str
    address: str = ""
    options: str = ""
    paper: str = ""
    traits: tuple[Trait, ...] = ()

    def load(self) -> Callable[..., Any]:
        """Import the function."""
        module, _, function = self.address.partition(":")
        return cast(Callable[..., Any], getattr(importlib.import_module(module), function))

    @property
    def line(self) -> str:
        """Line of the help page: the meaning of the choice, and the names of its options."""
        names = [option.partition("=")[0] for option in self.options.split(",") if option]
        if not names:
            return self.about
        return f"{self.about}; option{'s' if len(names) > 1 else ''} {', '.join(names)}"


Registry = Mapping[str, Choice]


def with_trait(registry: Registry, trait: Trait) -> tuple[str, ...]:
    """List the names of a registry that have a trait, in the order of the registry."""
    return tuple(name for name, choice in registry.items() if trait in choice.traits)


# Keyword parameters that the program supplies itself; all others are options of the choice.
SUPPLIED: dict[str, frozenset[str]] = {
    "model": frozenset({"image_size", "stem"}),
    "sampler": frozenset({"progress", "class_errors"}),
    "optimizer": frozenset({"lr", "weight_decay"}),
    "imbalance": frozenset({"class_names"}),
    "resample": frozenset({"class_names"}),
}
