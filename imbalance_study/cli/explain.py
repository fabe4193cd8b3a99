"""``imbalance-study explain``: where a model looks, on any photographs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from imbalance_study.cli import loading
from imbalance_study.cli.options import (
    ConfigOption,
    GroupedCommand,
    flag,
    given,
    options,
)
from imbalance_study.config import fields
from imbalance_study.config.fields import option
from imbalance_study.experiment.setup.device import resolve_device

if TYPE_CHECKING:
    from imbalance_study.inference.load import LoadedModel

_METHODS = {
    "gradcam": "what speaks for the predicted class, and for another",
    "occlusion": "probability while a part of the image is hidden",
    "feature_maps": "activations of the explained layers",
    "deletion": "does hiding the most salient part hurt more than hiding another?",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is explained, on which images.

    Raises:
        ValueError: A value is outside its range or choices.
    """

    run: str = option("none", "Model", "A finished run, by its id, whose kept weights are taken.")
    model: str = option(
        "none", "Model", "A model by its name, with weights; or models:/NAME@champion, runs:/ID."
    )
    weights: str = option(
        "none",
        "Model",
        "imagenet (torchvision's), or a file: a checkpoint of a run, or a state_dict.",
    )
    tracking_uri: str = option(
        "auto", "Model", "Where the run is; auto: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db."
    )
    images: str = option("none", "Images", "An image or a folder; more may follow behind it.")
    limit: int = option(24, "Images", "Images at most.", minimum=1, maximum=200)
    methods: str = option(
        "gradcam+occlusion+feature_maps+deletion",
        "Explanation",
        "What to draw, joined by +.",
        choices=_METHODS,
        chain=True,
    )
    gradcam_layers: str = option(
        "auto",
        "Explanation",
        "Layers of Grad-CAM and feature maps, joined by +; auto: the last one with a map of 4x4 "
        "or more, all: the last one of each resolution.",
    )
    colormap: Literal["inferno", "viridis", "magma", "plasma", "cividis", "turbo", "jet"] = option(
        "inferno", "Explanation", "Colours of the maps."
    )
    out: str = option("explanations", "Explanation", "Folder that gets the PNG files.")
    device: Literal["auto", "cpu", "cuda", "mps"] = option(
        "auto", "DeviceSetup", "Where to compute."
    )

    def __post_init__(self) -> None:
        fields.check(self)


@click.command(
    cls=GroupedCommand,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.argument("more_images", nargs=-1)
@flag("debug", "Show the traceback of an error.")
def command(
    more_images: tuple[str, ...], debug: str, class_name: str | None, **values: Any
) -> None:
    """Explain what a model sees in photographs: Grad-CAM, occlusion, feature maps, deletion.

    imbalance-study explain --run RUN_ID --images photos/ --class daisy

    imbalance-study explain --model models:/NAME@champion --images photos/

    imbalance-study explain --model resnet18 --weights imagenet --images cat.jpg dog.jpg
    """
    settings = Settings(**fields.parse_values(Settings, given(values)))
    places = [place for place in (settings.images, *more_images) if place != "none"]
    if not places:
        raise ValueError("images must name an image or a folder")
    promoted = settings.model.startswith(("models:/", "runs:/"))
    if (settings.run != "none") + (settings.weights != "none") + promoted != 1:
        raise ValueError(
            "give either run=ID, or weights=imagenet|FILE with model=NAME, or "
            "model=models:/NAME@champion"
        )
    if settings.run != "none" and settings.model != "none":
        raise ValueError(f"model={settings.model} has no effect with run: the run names its model")
    for line in _explain(settings, places, class_name or ""):
        click.echo(line)


def _explain(settings: Settings, places: list[str], class_name: str) -> list[str]:
    from imbalance_study.config.schema import Config
    from imbalance_study.inference import explain as explaining

    paths = explaining.find(places)
    shown = paths[: settings.limit]
    lines = explaining.explain(
        _trained(settings),
        shown,
        Path(settings.out).expanduser(),
        class_name=class_name,
        methods=[part.strip() for part in settings.methods.split("+")],
        layers=settings.gradcam_layers,
        colormap=settings.colormap,
        device=resolve_device(Config(device=settings.device)).device.type,
    )
    if len(shown) < len(paths):
        lines.append(f"{len(paths) - len(shown)} more images were left out; limit lets them in")
    return [*lines, f"Written to {Path(settings.out).expanduser().absolute()}"]


def _trained(settings: Settings) -> LoadedModel:
    if settings.run != "none":
        return loading.ready(settings.run, settings.tracking_uri)
    if settings.weights == "none":
        return loading.ready(settings.model, settings.tracking_uri)
    from imbalance_study.inference import load as trained

    model = "" if settings.model == "none" else settings.model
    return trained.from_weights(model, settings.weights)


options(Settings)(command)
_class = ConfigOption(
    ["--class", "class_name"],
    metavar="NAME",
    help="The class to explain beside the predicted one. [default: the runner-up]",
)
_class.group = "Explanation"
command.params.append(_class)
