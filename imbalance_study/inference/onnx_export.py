"""Export of a trained model as one ONNX file, in fp32 or int8, compared with torch."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from imbalance_study import files
from imbalance_study.inference.load import LoadedModel

NEEDED = ("onnx", "onnxruntime", "onnxscript")
# Largest accepted difference of a probability between ONNX in fp32 and torch.
TOLERANCE = 1e-4
_BATCH = 64

Format = Literal["onnx", "int8"]
Floats = NDArray[np.float32]


class Exported(NamedTuple):
    """Comparison of a written file with torch, on N images."""

    difference: float  # the largest of a probability
    agreement: float  # fraction of images with the same most probable class
    bytes: tuple[int, int]  # size of ONNX in fp32, and of the file
    milliseconds: tuple[float, float]  # of an image in batches of 64, for the same two files
    probs: tuple[Floats, Floats]  # (N, C) of torch, and of the file


def export(
    loaded: LoadedModel,
    path: Path,
    images: NDArray[np.uint8],
    *,
    format: Format = "onnx",
    min_agreement: float = 0.95,
) -> Exported:
    """Write a model that takes raw images uint8 (batch, H, W, 3) and gives probabilities.

    The metadata of the file hold the class names. ``int8`` keeps the weights of convolutions and
    linear layers as 8-bit integers and quantises activations while it runs (onnxruntime's dynamic
    quantisation): the file shrinks to about a quarter, and is slower on many processors. The
    activations of a batch share one scale, so models with outliers among them (EfficientNet,
    MobileNet) can lose much accuracy.

    Args:
        loaded: The model.
        path: The file.
        images: Raw images (N, H, W, 3) for the comparison; int8 needs real ones, not noise.
        format: ``onnx`` (fp32) or ``int8``.
        min_agreement: Smallest accepted agreement of int8 with torch.

    Raises:
        ValueError: A package is missing; or the file differs too much from the model, and nothing
            is written.
        OSError: The file cannot be written.
    """
    _require_packages()
    model = loaded.raw()
    with torch.inference_mode():
        expected = np.concatenate(
            [model(torch.from_numpy(part)).numpy() for part in _parts(images)]
        )
    with tempfile.TemporaryDirectory(prefix="imbalance_study_") as folder, _quiet():
        fp32 = Path(folder, "fp32.onnx")
        _write_onnx(model, loaded, fp32)
        fp32_probs, fp32_ms = _run(fp32, images)
        _refuse_difference(expected, fp32_probs)
        exported, milliseconds, written = fp32_probs, fp32_ms, fp32
        if format == "int8":
            written = Path(folder, "int8.onnx")
            _quantise(fp32, written)
            exported, milliseconds = _run(written, images)
        agreement = _agreement(expected, exported, min_agreement)
        with files.replacing(path) as partial:
            partial.write_bytes(written.read_bytes())
        sizes = fp32.stat().st_size, written.stat().st_size
    difference = float(np.abs(exported - expected).max())
    return Exported(difference, agreement, sizes, (fp32_ms, milliseconds), (expected, exported))


def _require_packages() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"export needs {', '.join(missing)}; install with pip install 'imbalance-study[export]'"
        )


def _agreement(expected: Floats, exported: Floats, minimum: float) -> float:
    """Return the fraction of images with the same class; refuse less than `minimum`."""
    agreement = float((exported.argmax(1) == expected.argmax(1)).mean())
    if not agreement >= minimum:
        raise ValueError(
            f"the int8 model gives the same class as the model for {agreement:.1%} of "
            f"{len(expected):,} images, and min_agreement is {minimum:.1%}: nothing is written; "
            "use format=onnx"
        )
    return agreement


def _refuse_difference(expected: Floats, exported: Floats) -> None:
    difference = float(np.abs(exported - expected).max())
    if not difference <= TOLERANCE:  # NaN is no small difference
        raise ValueError(
            f"the ONNX model differs from the model by up to {difference:.2g} in a probability, "
            f"more than {TOLERANCE:g}: nothing is written"
        )


def _write_onnx(model: torch.nn.Module, loaded: LoadedModel, path: Path) -> None:
    """Export with a variable batch axis and the weights inside the file."""
    import onnx

    side = loaded.image_size
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    program: Any = torch.onnx.export(
        model,
        (example,),
        dynamo=True,
        verbose=False,
        input_names=["images"],
        output_names=["probabilities"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    content = program.model_proto
    names = "\n".join(" ".join(str(name).split()) for name in loaded.class_names)
    onnx.helper.set_model_props(content, {"class_names": names})
    onnx.save(content, str(path))


def _quantise(fp32: Path, path: Path) -> None:
    """Write 8-bit weights, except for grouped convolutions: these are few, slow and sensitive."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    grouped = [
        node.name
        for node in onnx.load(str(fp32)).graph.node
        if any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
    ]
    # onnxruntime has no convolution with signed weights for CPUs.
    quantize_dynamic(str(fp32), str(path), weight_type=QuantType.QUInt8, nodes_to_exclude=grouped)


def _run(path: Path, images: NDArray[np.uint8]) -> tuple[Floats, float]:
    """Return probabilities (N, C), and milliseconds for an image after the first batch."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def one(part: NDArray[np.uint8]) -> Floats:
        return np.asarray(session.run(None, {"images": part})[0])

    one(images[:1])
    started = time.perf_counter()
    probs = np.concatenate([one(part) for part in _parts(images)])
    return probs, 1000 * (time.perf_counter() - started) / len(images)


def _parts(images: NDArray[np.uint8]) -> Sequence[NDArray[np.uint8]]:
    return [
        np.ascontiguousarray(images[start : start + _BATCH])
        for start in range(0, len(images), _BATCH)
    ]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the progress messages and warnings of the exporters; errors pass."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
