"""``imbalance-study export``: a trained model as an ONNX file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from imbalance_study.cli import loading
from imbalance_study.cli.options import GroupedCommand, flag, given, options
from imbalance_study.config import fields
from imbalance_study.config.fields import option
from imbalance_study.experiment.setup.components import bind
from imbalance_study.experiment.setup.data import load_data

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from imbalance_study.inference.load import LoadedModel
    from imbalance_study.inference.onnx_export import Exported


@dataclasses.dataclass(frozen=True)
class Settings:
    """Which model is written, how, and on which images it is compared.

    Raises:
        ValueError: A value is outside its range or choices.
    """

    model: str = option("none", "Model", loading.MODEL_HELP[0].upper() + loading.MODEL_HELP[1:])
    tracking_uri: str = option(
        "auto", "Model", "Where it is; auto: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db."
    )
    format: Literal["onnx", "int8"] = option(
        "onnx",
        "Output",
        "onnx: fp32. int8: weights of 8 bits in a file of about a quarter, often slower.",
    )
    out: str = option("model.onnx", "Output", "The file, .onnx.")
    images: str = option(
        "none",
        "Check",
        "Images, or a folder, to compare on; none: the test images of the model's own data set, "
        "which tell the accuracy as well.",
    )
    limit: int = option(1_000, "Check", "Images at most.", minimum=1)
    min_agreement: float = option(
        0.95,
        "Check",
        "Least share of images for which int8 gives the same class; below, nothing is written.",
        minimum=0,
        maximum=1,
    )

    def __post_init__(self) -> None:
        fields.check(self)


@click.command(
    cls=GroupedCommand,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@flag("debug", "Show the traceback of an error.")
def command(debug: str, **values: Any) -> None:
    """Write a trained model as ONNX, after a comparison with torch.

    imbalance-study export --model models:/NAME@champion --format int8 --out model.onnx

    The file takes raw images uint8 (batch, H, W, 3) and gives probabilities; the class names stand
    in its metadata. Needs pip install 'imbalance-study[export]'.
    """
    settings = Settings(**fields.parse_values(Settings, given(values)))
    if settings.model == "none":
        raise ValueError(f"model must name what is exported: {loading.MODEL_HELP}")
    out = Path(settings.out).expanduser()
    if out.suffix.lower() != ".onnx":
        raise ValueError(f"out must end in .onnx, got {settings.out!r}")
    from imbalance_study.inference import onnx_export

    ready = loading.ready(settings.model, settings.tracking_uri)
    images, labels = _images(settings, ready)
    found = onnx_export.export(
        ready, out, images, format=settings.format, min_agreement=settings.min_agreement
    )
    for line in _lines(found, labels, settings.format):
        click.echo(line)
    click.echo(f"Written to {out.absolute()}")


def _images(
    settings: Settings, ready: LoadedModel
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """Images to compare on, evenly from what there is, and their classes where these are known."""
    import numpy as np

    from imbalance_study.inference import explain as explaining

    if settings.images != "none":
        paths = explaining.find([settings.images])
        step = max(1, len(paths) // settings.limit)
        return explaining.read(paths[::step][: settings.limit], ready.image_size), None
    assert ready.config is not None  # of a run or its checkpoint
    config = ready.config
    if config.image_size == "auto" and config.weights != "none":  # then the weights decided it
        config = dataclasses.replace(config, image_size=ready.image_size)
    try:
        data = load_data(config, bind(config))
    except (ValueError, OSError) as error:
        raise ValueError(
            f"the test images of {config.dataset} cannot be read to compare on ({error}); name "
            "others with images=FOLDER"
        ) from error
    rows = data.split.test
    rows = np.sort(np.random.default_rng(0).permutation(rows)[: settings.limit])
    return data.image_set.images[rows], data.image_set.labels[rows]


def _lines(found: Exported, labels: NDArray[np.int64] | None, format: str) -> list[str]:
    count = len(found.probs[0])
    lines = [
        f"largest difference of a probability from torch: {found.difference:.2g}",
        f"the same class as torch: {found.agreement:.2%} of {count:,} images",
    ]
    if labels is not None:
        before, after = (float((probs.argmax(1) == labels).mean()) for probs in found.probs)
        lines.append(f"accuracy on them: {after:.2%} (torch: {before:.2%})")
    if format == "int8":
        megabytes = [size / 1e6 for size in found.bytes]
        lines += [
            f"size: {megabytes[1]:.1f} MB (fp32: {megabytes[0]:.1f} MB)",
            f"time: {found.milliseconds[1]:.2f} ms an image (fp32: {found.milliseconds[0]:.2f} ms)",
        ]
    return lines


options(Settings)(command)
