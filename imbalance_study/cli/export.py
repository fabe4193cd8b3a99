"""``imbalance-study export``: a trained model as an ONNX file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from imbalance_study.cli import definition, loading
from imbalance_study.config import fields
from imbalance_study.config.fields import option

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from imbalance_study.config.schema import Config
    from imbalance_study.inference.load import LoadedModel
    from imbalance_study.inference.onnx_export import Exported


@dataclasses.dataclass(frozen=True)
class Settings:
    """Model, form of the file, and images of the comparison.

    Raises:
        ValueError: A value is outside its range or choices.
    """

    model: str = option("none", "Model", loading.MODEL_HELP[0].upper() + loading.MODEL_HELP[1:])
    tracking_uri: str = option(
        "auto", "Model", "Store of the model; auto: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db."
    )
    own_code: bool = option(False, "Model", loading.OWN_CODE_HELP)
    format: Literal["onnx", "int8"] = option(
        "onnx",
        "Output",
        "onnx: fp32. int8: weights of 8 bits in a file of about a quarter, often slower.",
    )
    out: str = option("model.onnx", "Output", "The file, .onnx.")
    images: str = option(
        "none",
        "Check",
        "Image or folder for the comparison; none: the test images of the model's own data set, "
        "which also give the accuracy.",
    )
    limit: int = option(1_000, "Check", "Images at most.", minimum=1)
    min_agreement: float = option(
        0.95,
        "Check",
        "Smallest fraction of images with the same class from int8; below it, nothing is written.",
        minimum=0,
        maximum=1,
    )

    def __post_init__(self) -> None:
        fields.check(self)


@definition.command(Settings)
def command(settings: Settings) -> None:
    """Write a trained model as ONNX, after a comparison with torch.

    imbalance-study export --model models:/NAME@champion --format int8 --out model.onnx

    The file takes raw images uint8 (batch, H, W, 3) and gives probabilities; its metadata hold the
    class names. Needs pip install 'imbalance-study[export]'.
    """
    if settings.model == "none":
        raise ValueError(f"model must name the model to export: {loading.MODEL_HELP}")
    out = Path(settings.out).expanduser()
    if out.suffix.lower() != ".onnx":
        raise ValueError(f"out must end in .onnx, got {settings.out!r}")
    from imbalance_study.inference import onnx_export

    loaded = loading.load_model(settings.model, settings.tracking_uri, own_code=settings.own_code)
    images, labels = _images(settings, loaded)
    exported = onnx_export.export(
        loaded, out, images, format=settings.format, min_agreement=settings.min_agreement
    )
    for line in _lines(exported, labels, settings.format):
        click.echo(line)
    click.echo(f"Written to {out.absolute()}")


def _images(
    settings: Settings, loaded: LoadedModel
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """Return images for the comparison, evenly spaced, and their classes where these are known."""
    from imbalance_study.data.image_folder import find_images
    from imbalance_study.inference.explain import read_images

    if settings.images != "none":
        paths = find_images([settings.images])
        step = max(1, len(paths) // settings.limit)
        return read_images(
            paths[::step][: settings.limit], loaded.image_size, loaded.decoding
        ), None
    assert loaded.config is not None  # a run or its checkpoint was named
    config = loaded.config
    is_file = Path(settings.model).expanduser().is_file()
    if is_file or not loading.trusts_store(settings.own_code):
        _refuse_own_code(config, settings.model)
    if config.image_size == "auto" and config.weights != "none":  # the weights decided it
        config = dataclasses.replace(config, image_size=loaded.image_size)
    return _test_images(config, settings.limit)


def _refuse_own_code(config: Config, model: str) -> None:
    """Refuse to read the data of a file or a shared store that names code."""
    from imbalance_study.inference.load import own_functions

    for name, function in own_functions(config).items():
        raise ValueError(
            f"{model} names the function {function} as its {name}, which would be imported and "
            "called here; name the images with images=FOLDER, or take the model from its run and "
            "add own_code=true if you trust all who can write to the store"
        )


def _test_images(config: Config, limit: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw at most `limit` test images of a run's data set, and return them with their classes."""
    import numpy as np

    from imbalance_study.experiment.setup.components import bind
    from imbalance_study.experiment.setup.data import load_data

    try:
        data = load_data(config, bind(config))
    except (ValueError, OSError) as error:
        raise ValueError(
            f"the test images of {config.dataset} for the comparison cannot be read ({error}); "
            "name others with images=FOLDER"
        ) from error
    rows = np.sort(np.random.default_rng(0).permutation(data.split.test)[:limit])
    return data.image_set.images[rows], data.image_set.labels[rows]


def _lines(exported: Exported, labels: NDArray[np.int64] | None, format: str) -> list[str]:
    count = len(exported.probs[0])
    lines = [
        f"largest difference of a probability from torch: {exported.difference:.2g}",
        f"the same class as torch: {exported.agreement:.2%} of {count:,} images",
    ]
    if labels is not None:
        before, after = (float((probs.argmax(1) == labels).mean()) for probs in exported.probs)
        lines.append(f"accuracy on them: {after:.2%} (torch: {before:.2%})")
    if format == "int8":
        megabytes, milliseconds = [size / 1e6 for size in exported.bytes], exported.milliseconds
        lines += [
            f"size: {megabytes[1]:.1f} MB (fp32: {megabytes[0]:.1f} MB)",
            f"time: {milliseconds[1]:.2f} ms an image (fp32: {milliseconds[0]:.2f} ms)",
        ]
    return lines
