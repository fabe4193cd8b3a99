"""Any model explained on any photographs, written as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from imbalance_study import explanations
from imbalance_study.data import decode
from imbalance_study.evaluation import figures_explain as figures
from imbalance_study.explanations import View, file_name
from imbalance_study.knobs import unknown
from imbalance_study.trained import Ready

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
METHODS = ("gradcam", "occlusion", "feature_maps", "deletion")


def find(places: Sequence[str]) -> list[Path]:
    """Image files: those named, and those in the folders named, sorted.

    Raises:
        ValueError: A place does not exist, or there is no image.
    """
    found: list[Path] = []
    for place in places:
        path = Path(place).expanduser()
        if path.is_dir():
            inside = (file for file in path.rglob("*") if file.suffix.lower() in ENDINGS)
            found += sorted(file for file in inside if file.is_file())
        elif path.is_file():
            found.append(path)
        else:
            raise ValueError(f"there is no image or folder {place}")
    if not found:
        raise ValueError(
            f"there are no images in {', '.join(places)}; known endings: {' '.join(ENDINGS)}"
        )
    return list(dict.fromkeys(found))


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
    ready: Ready,
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
    at = explanations.layers_of(view.model, layers)
    if not at and set(methods) != {"occlusion"}:
        raise ValueError("no layer of this model gives maps: name layers, or use methods=occlusion")
    probs = view.probs(images)
    predicted = probs.argmax(1)
    runner_up = figures.runner_up(predicted, probs)
    explained = predicted if chosen is None else np.full_like(predicted, chosen)
    other = np.where(explained == predicted, runner_up, explained)
    files = _Writer(out, paths, names)
    if "gradcam" in methods:
        _gradcam(files, view, images, np.stack([predicted, other], axis=1), probs, at)
    if "feature_maps" in methods:
        for layer in at:
            files.figure(
                f"feature_maps_{file_name(layer)}", explanations.feature_maps(view, images, layer)
            )
    if "occlusion" in methods:
        found = explanations.occlusion(view, images, explained)
        files.figure("occlusion", explanations.occlusion_figure(view, images, explained, found))
        files.overlays("occlusion", images, found.drop, explained, colormap)
    if "deletion" in methods:
        maps = explanations.gradcam_maps(view, images, explained[:, None], at[-1])[:, 0]
        score = explanations.deletion(view, images, explained, maps, 0)
        pair = {"Grad-CAM": (score.salient, score.random)}
        files.figure("deletion", figures.deletion(pair, score.fraction))
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
        maps = explanations.gradcam_maps(view, images, classes, layer)
        figure = figures.gradcam_of_classes(
            images,
            maps,
            classes,
            probs,
            view.class_names,
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
            overlay = figures.overlay(images[index], maps[index], colormap)
            Image.fromarray(overlay).save(folder / f"{name}.png")


def _line(path: Path, probs: Any, names: Sequence[str]) -> str:
    best = np.argsort(-probs)[:3]
    return f"{path.name}: " + ", ".join(f"{names[label]} {probs[label]:.1%}" for label in best)
