"""A trained model as one ONNX file, in fp32 or with int8 weights, compared with torch."""

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
# Largest difference of a probability between ONNX in fp32 and torch.
TOLERANCE = 1e-4
_BATCH = 64

Format = Literal["onnx", "int8"]
Floats = NDArray[np.float32]


class Exported(NamedTuple):
    """How a written file compares with torch on the images that were given."""

    difference: float  # largest, of a probability
    agreement: float  # share of images with the same most probable class
    bytes: tuple[int, int]  # of ONNX in fp32, and of the file
    milliseconds: tuple[float, float]  # for an image, in the same two, in batches of 64
    probs: tuple[Floats, Floats]  # of torch, and of the file (N, C)


def export(
    ready: LoadedModel,
    path: Path,
    images: NDArray[np.uint8],
    *,
    format: Format = "onnx",
    min_agreement: float = 0.95,
) -> Exported:
    """Write a model that takes raw images uint8 (batch, H, W, 3) and gives probabilities.

    The class names stand in the file's metadata. ``int8`` keeps the weights of convolutions and
    linear layers as 8-bit integers and quantises activations while it runs (onnxruntime's dynamic
    quantisation): a file of about a quarter, on many processors slower. The activations of a batch
    share one scale, so models with outliers among them (EfficientNet, MobileNet) can lose much.

    Args:
        ready: The model.
        path: The file.
        images: Raw images (N, H, W, 3) to compare on; noise does not do for int8.
        format: ``onnx`` (fp32) or ``int8``.
        min_agreement: Least agreement of int8 with torch.

    Raises:
        ValueError: A package is missing; or the file would differ too much from the model: then
            nothing is written.
        OSError: The file cannot be written.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"export needs {', '.join(missing)}; install with pip install 'imbalance-study[export]'"
        )
    model = ready.raw()
    with torch.inference_mode():
        wanted = np.concatenate([model(torch.from_numpy(part)).numpy() for part in _parts(images)])
    with tempfile.TemporaryDirectory(prefix="imbalance_study_") as folder, _quiet():
        plain = Path(folder, "plain.onnx")
        _write_onnx(model, ready, plain)
        plain_probs, plain_ms = _run(plain, images)
        _refuse_difference(wanted, plain_probs)
        found, milliseconds, written = plain_probs, plain_ms, plain
        if format == "int8":
            written = Path(folder, "int8.onnx")
            _quantise(plain, written)
            found, milliseconds = _run(written, images)
        agreement = float((found.argmax(1) == wanted.argmax(1)).mean())
        if not agreement >= min_agreement:
            raise ValueError(
                f"the int8 model gives the same class as the model for {agreement:.1%} of "
                f"{len(images):,} images, and min_agreement is {min_agreement:.1%}: nothing is "
                "written; use format=onnx"
            )
        with files.replacing(path) as partial:
            partial.write_bytes(written.read_bytes())
        sizes = plain.stat().st_size, written.stat().st_size
    difference = float(np.abs(found - wanted).max())
    return Exported(difference, agreement, sizes, (plain_ms, milliseconds), (wanted, found))


def _refuse_difference(wanted: Floats, found: Floats) -> None:
    difference = float(np.abs(found - wanted).max())
    if not difference <= TOLERANCE:  # NaN is no small difference
        raise ValueError(
            f"the ONNX model differs from the model by up to {difference:.2g} in a probability, "
            f"more than {TOLERANCE:g}: nothing is written"
        )


def _write_onnx(model: torch.nn.Module, ready: LoadedModel, path: Path) -> None:
    """Export with a free batch axis, weights inside the file."""
    import onnx

    side = ready.image_size
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
    names = "\n".join(" ".join(str(name).split()) for name in ready.class_names)
    onnx.helper.set_model_props(content, {"class_names": names})
    onnx.save(content, str(path))


def _quantise(plain: Path, path: Path) -> None:
    """8-bit weights; those of grouped convolutions stay: they are few, slow and sensitive."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    grouped = [
        node.name
        for node in onnx.load(str(plain)).graph.node
        if any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
    ]
    # onnxruntime has no convolution of signed weights on a processor.
    quantize_dynamic(str(plain), str(path), weight_type=QuantType.QUInt8, nodes_to_exclude=grouped)


def _run(path: Path, images: NDArray[np.uint8]) -> tuple[Floats, float]:
    """Probabilities (N, C), and milliseconds for an image after the first batch."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def one(part: NDArray[np.uint8]) -> Floats:
        return np.asarray(session.run(None, {"images": part})[0])

    one(images[:1])
    begun = time.perf_counter()
    probs = np.concatenate([one(part) for part in _parts(images)])
    return probs, 1000 * (time.perf_counter() - begun) / len(images)


def _parts(images: NDArray[np.uint8]) -> Sequence[NDArray[np.uint8]]:
    return [
        np.ascontiguousarray(images[start : start + _BATCH])
        for start in range(0, len(images), _BATCH)
    ]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporters tell of their steps and of their own plans; errors come through."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
