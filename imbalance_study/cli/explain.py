"""``imbalance-study explain``: explanations of a model on any photographs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from imbalance_study.cli import definition, loading
from imbalance_study.cli.options import ConfigOption
from imbalance_study.config import choices, fields
from imbalance_study.config.fields import option

if TYPE_CHECKING:
    from imbalance_study.inference.load import LoadedModel

_METHODS = {
    name: choices.ANALYSES[name] for name in ("gradcam", "occlusion", "feature_maps", "deletion")
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Model, images, and methods of the explanation.

    Raises:
        ValueError: A value is outside its range or choices.
    """

    run: str = option("none", "Model", "Id of a finished run whose kept weights are explained.")
    model: str = option(
        "none", "Model", "Name of a model, with weights; or models:/NAME@champion, runs:/ID."
    )
    weights: str = option(
        "none",
        "Model",
        "imagenet (torchvision's or timm's), or a file: a checkpoint of a run, or a state_dict.",
    )
    weights_classes: str = option(
        "none", "Model", "Text file with the class names of a state_dict, a line each."
    )
    tracking_uri: str = option(
        "auto", "Model", "Store of the run; auto: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db."
    )
    own_code: bool = option(False, "Model", loading.OWN_CODE_HELP)
    images: str = option("none", "Images", "An image or a folder; more may follow behind it.")
    limit: int = option(24, "Images", "Images at most.", minimum=1, maximum=200)
    methods: str = option(
        "gradcam+occlusion+feature_maps+deletion",
        "Explanation",
        "Methods, joined by +.",
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
    out: str = option("explanations", "Explanation", "Folder of the PNG files.")
    device: Literal["auto", "cpu", "cuda", "mps"] = option(
        "auto", "Machine", "Device of the computation."
    )

    def __post_init__(self) -> None:
        fields.check(self)


@definition.command(Settings)
@click.argument("more_images", nargs=-1)
def command(settings: Settings, more_images: tuple[str, ...], class_name: str | None) -> None:
    """Explain the predictions for photographs: Grad-CAM, occlusion, feature maps, deletion.

    imbalance-study explain --run RUN_ID --images photos/ --class daisy

    imbalance-study explain --model models:/NAME@champion --images photos/

    imbalance-study explain --model resnet18 --weights imagenet --images cat.jpg dog.jpg
    """
    paths = [path for path in (settings.images, *more_images) if path != "none"]
    if not paths:
        raise ValueError("images must name an image or a folder")
    promoted = settings.model.startswith(("models:/", "runs:/"))
    if (settings.run != "none") + (settings.weights != "none") + promoted != 1:
        raise ValueError(
            "give either run=ID, or weights=imagenet|FILE with model=NAME, or "
            "model=models:/NAME@champion"
        )
    if settings.weights_classes != "none" and settings.weights in ("none", "imagenet"):
        raise ValueError(
            "weights_classes has no effect without a file of weights: it names their classes"
        )
    if settings.run != "none" and settings.model != "none":
        raise ValueError(f"model={settings.model} has no effect with run: the run names its model")
    for line in _explain(settings, paths, class_name or ""):
        click.echo(line)


def _explain(settings: Settings, paths: list[str], class_name: str) -> list[str]:
    from imbalance_study.config.schema import Config
    from imbalance_study.data.image_folder import find_images
    from imbalance_study.experiment.setup.device import resolve_device
    from imbalance_study.inference.explain import Options, explain

    images = find_images(paths)
    out = Path(settings.out).expanduser()
    methods = [part.strip() for part in settings.methods.split("+")]
    lines = explain(
        _load(settings),
        images[: settings.limit],
        out,
        Options(class_name, methods, settings.gradcam_layers, settings.colormap),
        device=resolve_device(Config(device=settings.device)).device.type,
    )
    if len(images) > settings.limit:
        left_out = len(images) - settings.limit
        lines.append(f"{left_out} more images were left out; raise limit to include them")
    return [*lines, f"Written to {out.absolute()}"]


def _load(settings: Settings) -> LoadedModel:
    if settings.weights == "none":
        address = settings.model if settings.run == "none" else settings.run
        return loading.load_model(address, settings.tracking_uri, own_code=settings.own_code)
    from imbalance_study.inference import load

    model = "" if settings.model == "none" else settings.model
    return load.from_weights(model, settings.weights, settings.weights_classes)


_class = ConfigOption(
    ["--class", "class_name"],
    metavar="NAME",
    help="The class to explain beside the predicted one. [default: the runner-up]",
)
_class.group = "Explanation"
command.params.append(_class)
