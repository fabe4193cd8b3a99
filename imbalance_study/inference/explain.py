"""Any model explained on any photographs, written as PNG files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from imbalance_study.config.fields import unknown
from imbalance_study.data import decode
from imbalance_study.data.image_folder import EXTENSIONS, is_image
from imbalance_study.evaluation.figures import attribution as attribution_figures
from imbalance_study.experiment.analyses import saliency
from imbalance_study.experiment.analyses.saliency import View
from imbalance_study.files import file_name
from imbalance_study.inference.load import LoadedModel

METHODS = ("gradcam", "occlusion", "feature_maps", "deletion")


def find(places: Sequence[str]) -> list[Path]:
    """Image files: those named, and those in the folders named, sorted.

    Raises:
        ValueError: A place does not exist, or there is no image.
    """
    found = list(walk(places))
    if not found:
        raise nothing(places)
    return found


def nothing(places: Sequence[str]) -> ValueError:
    """The error of places without an image."""
    return ValueError(
        f"there are no images in {', '.join(places)}; known endings: {' '.join(EXTENSIONS)}"
    )


def walk(places: Sequence[str]) -> Iterator[Path]:
    """Image files one after the other, each once: those named, and those in the folders named.

    A folder's are sorted by their paths, hidden files and links to folders left out. No more than
    the names in the folders on the way are kept in memory.

    Raises:
        ValueError: A place does not exist, or a folder cannot be read.
    """
    paths = [Path(place).expanduser() for place in places]
    for path in paths:
        if not path.exists():
            raise ValueError(f"there is no image or folder {path}")
    done: set[Path] = set()
    for path in paths:
        real = path.resolve()
        if not done & {real, *real.parents}:
            yield from _below(path, real, done) if path.is_dir() else (path,)
            done.add(real)


def _below(folder: Path, real: Path, done: set[Path]) -> Iterator[Path]:
    """Images in a folder, without those places that were done before."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise ValueError(f"the folder {folder} cannot be read: {error.strerror}") from error
    for entry in entries:
        if entry.name.startswith(".") or real / entry.name in done:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _below(folder / entry.name, real / entry.name, done)
        elif is_image(entry.name) and not entry.is_dir():
            yield folder / entry.name


def read(paths: Sequence[Path], size: int) -> npt.NDArray[np.uint8]:
    """Images (N, size, size, 3), cut to the middle square as for training.

    Raises:
        ValueError: A file is no image.
    """
    images = []
    for path in paths:
        try:
            images.append(decode.decode(path.read_bytes(), size))
        except Exception as error:
            raise ValueError(f"{path} cannot be read as an image: {error}") from error
    return np.stack(images)


def explain(
    ready: LoadedModel,
    paths: Sequence[Path],
    out: Path,
    *,
    class_name: str = "",
    methods: Sequence[str] = METHODS,
    layers: str = "auto",
    colormap: str = "inferno",
    device: str = "cpu",
) -> list[str]:
    """Write figures and overlays of photographs into a folder.

    Args:
        ready: The model.
        paths: The photographs.
        out: The folder; made when missing.
        class_name: The class to explain beside the predicted one; the runner-up when empty.
        methods: Some of METHODS.
        layers: As `explanations.layers_of` takes them.
        colormap: Of the maps.
        device: Where to compute.

    Returns:
        A line for each photograph: its three most probable classes.

    Raises:
        ValueError: The class or a layer is unknown, or the model has no maps.
    """
    names = [str(name) for name in ready.class_names]
    chosen = _label(class_name, names)
    images = read(paths, ready.image_size)
    place = torch.device(device)
    view = View(
        ready.model.to(place),
        ready.normalise,
        ready.probabilities,
        place,
        names,
        colormap,
    )
    at = saliency.layers_of(view.model, layers)
    if not at and set(methods) != {"occlusion"}:
        raise ValueError("no layer of this model gives maps: name layers, or use methods=occlusion")
    probs = view.probs(images)
    predicted = probs.argmax(1)
    runner_up = attribution_figures.runner_up(predicted, probs)
    explained = predicted if chosen is None else np.full_like(predicted, chosen)
    other = np.where(explained == predicted, runner_up, explained)
    files = _Writer(out, paths, names)
    if "gradcam" in methods:
        _gradcam(files, view, images, np.stack([predicted, other], axis=1), probs, at)
    if "feature_maps" in methods:
        for layer in at:
            files.figure(
                f"feature_maps_{file_name(layer)}",
                saliency.feature_maps(view, images, layer),
            )
    if "occlusion" in methods:
        found = saliency.occlusion(view, images, explained)
        files.figure("occlusion", saliency.occlusion_figure(view, images, explained, found))
        files.overlays("occlusion", images, found.drop, explained, colormap)
    if "deletion" in methods:
        maps = saliency.gradcam_maps(view, images, explained[:, None], at[-1])[:, 0]
        score = saliency.deletion(view, images, explained, maps, 0)
        pair = {"Grad-CAM": (score.salient, score.random)}
        files.figure("deletion", attribution_figures.deletion(pair, score.fraction))
    return [_line(path, row, names) for path, row in zip(paths, probs, strict=True)]


def _label(class_name: str, names: Sequence[str]) -> int | None:
    if not class_name:
        return None
    lower = [name.lower() for name in names]
    if class_name.lower() not in lower:
        raise ValueError(unknown(class_name, names, "class"))
    return lower.index(class_name.lower())


def _gradcam(
    files: _Writer,
    view: View,
    images: npt.NDArray[np.uint8],
    classes: npt.NDArray[np.integer[Any]],
    probs: npt.NDArray[np.floating[Any]],
    layers: Sequence[str],
) -> None:
    for layer in layers:
        suffix = f"_{file_name(layer)}" if len(layers) > 1 else ""
        maps = saliency.gradcam_maps(view, images, classes, layer)
        figure = attribution_figures.gradcam_of_classes(
            attribution_figures.ClassMaps(images, maps, classes, probs, view.class_names),
            [path.name for path in files.paths],
            title=f"Grad-CAM at {layer}",
            colormap=view.colormap,
        )
        files.figure(f"gradcam{suffix}", figure)
        for which in range(classes.shape[1]):
            files.overlays(
                f"gradcam{suffix}", images, maps[:, which], classes[:, which], view.colormap
            )


class _Writer:
    """Writes into the folder of the explanations."""

    def __init__(self, out: Path, paths: Sequence[Path], names: Sequence[str]) -> None:
        self.out, self.paths, self.names = out, paths, names
        out.mkdir(parents=True, exist_ok=True)

    def figure(self, name: str, figure: Any) -> None:
        """One figure of all photographs."""
        figure.savefig(self.out / f"{name}.png")

    def overlays(self, method: str, images: Any, maps: Any, classes: Any, colormap: str) -> None:
        """A file for each photograph: what speaks for a class."""
        from PIL import Image

        folder = self.out / "overlays"
        folder.mkdir(exist_ok=True)
        for index, path in enumerate(self.paths):
            name = file_name(f"{index + 1:03d}", path.stem, method, self.names[classes[index]])
            overlay = attribution_figures.overlay(images[index], maps[index], colormap)
            Image.fromarray(overlay).save(folder / f"{name}.png")


def _line(path: Path, probs: Any, names: Sequence[str]) -> str:
    best = np.argsort(-probs)[:3]
    return f"{path.name}: " + ", ".join(f"{names[label]} {probs[label]:.1%}" for label in best)
