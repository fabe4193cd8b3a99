"""Any model explained on any photographs, written as PNG files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from imbalance_study import explanations, prepare, spec, stages
from imbalance_study.config import Config
from imbalance_study.data import decode
from imbalance_study.evaluation import figures_explain as figures
from imbalance_study.explanations import View, file_name
from imbalance_study.knobs import unknown
from imbalance_study.models import zoo
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import checkpoint, losses

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
METHODS = ("gradcam", "occlusion", "feature_maps", "deletion")


class Ready(NamedTuple):
    """A trained model and what it was made for."""

    model: Classifier
    normalise: Callable[[Tensor], Tensor]
    probabilities: Callable[[Tensor], Tensor]
    class_names: Sequence[str]
    image_size: int


def from_checkpoint(path: Path, model: str = "") -> Ready:
    """The model of a run, rebuilt from its checkpoint.

    Args:
        path: As `experiment.run` writes it: with weights, configuration and facts.
        model: The model that it should be; any when empty.

    Raises:
        ValueError: The file is no such checkpoint, or it is of another model.
    """
    content = checkpoint.load(path)
    if not {"model", "config", "facts"} <= content.keys():
        raise ValueError(f"{path} holds weights alone; say which model they are of")
    config = _config_of(content["config"])
    if model and model != config.model:
        raise ValueError(f"{path} holds {config.model}, not model={model}")
    facts = content["facts"]
    names, size = facts["class_names"], facts["image_size"]
    made = zoo.create(
        config.model, len(names), image_size=size, stem=config.stem, head=_head(config)
    )
    _load(made, content["model"], path)
    return Ready(
        made.eval(),
        _normaliser(facts["mean"], facts["std"]),
        _probabilities(config),
        names,
        size,
    )


def _config_of(values: Mapping[str, Any]) -> Config:
    """The knobs of a checkpoint; those that another version knew are left out."""
    known = {field.name for field in dataclasses.fields(Config)}
    return Config(**{name: value for name, value in values.items() if name in known})


def _head(config: Config) -> str:
    if config.head != "auto":
        return config.head
    return "cosine" if spec.parse(config.loss).name in losses.COSINE_LOSSES else "linear"


def _probabilities(config: Config) -> Callable[[Tensor], Tensor]:
    if config.stage2 != "none":  # which trains a softmax
        return lambda logits: logits.softmax(1)
    return stages.probabilities(prepare.bind(config).loss, config)


def _normaliser(mean: Sequence[float], std: Sequence[float]) -> Callable[[Tensor], Tensor]:
    middle = torch.tensor(mean).view(1, 3, 1, 1)
    width = torch.tensor(std).view(1, 3, 1, 1)
    return lambda images: (images.float() / 255 - middle) / width


def from_weights(model: str, weights: str) -> Ready:
    """A model with weights from a file, or with torchvision's for ImageNet.

    A file holds a checkpoint of a run, or the state_dict of the model as torchvision (or this
    package) makes it; images of such a one are normalised as ImageNet's at 224 px, and its classes
    are numbers.

    Raises:
        ValueError: The weights are not there, not to be downloaded, or not of this model.
    """
    if weights == "imagenet":
        return _imagenet(model)
    path = Path(weights).expanduser()
    if not path.is_file():
        raise ValueError(f"weights must be imagenet or a file, got {weights!r}")
    content = checkpoint.load(path)
    if "config" in content:
        return from_checkpoint(path, model)
    if not model:
        raise ValueError(f"{path} holds weights alone; say which model they are of with model=NAME")
    state = content.get("model", content)
    matrices = [value for value in state.values() if getattr(value, "ndim", 0) == 2]
    if not matrices:
        raise ValueError(f"{path} is no state_dict of {model}: it has no matrix for a last layer")
    num_classes = len(matrices[-1])
    made = zoo.create(model, num_classes, image_size=224, stem="auto")
    _load(made, _own_names(made, state), path)
    names = [str(label) for label in range(num_classes)]
    return Ready(made.eval(), _normaliser(*_IMAGENET), _softmax, names, 224)


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(1)


# Mean and deviation that torchvision's weights were trained with.
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _imagenet(model: str) -> Ready:
    from torchvision.models import get_model_weights

    try:
        weights = get_model_weights(model).DEFAULT  # type: ignore[attr-defined]
    except ValueError:
        raise ValueError(
            f"there are no ImageNet weights of model={model!r}; torchvision's models have some "
            "(resnet18, efficientnet_b0, mobilenet_v2, vgg16, ...)"
        ) from None
    how = weights.transforms()
    size, names = how.crop_size[0], weights.meta["categories"]
    made = zoo.create(model, len(names), image_size=size, stem="imagenet")
    try:
        state = weights.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise ValueError(
            f"the ImageNet weights of {model} cannot be downloaded from {weights.url} "
            f"({getattr(error, 'reason', error)}); bring the file here and give it as weights"
        ) from error
    _load(made, _own_names(made, state), Path(weights.url))
    return Ready(made.eval(), _normaliser(how.mean, how.std), _softmax, names, size)


def _own_names(model: Classifier, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters under the names of a Classifier, whose last Linear is called classifier."""
    if any(name.startswith("backbone.") for name in state):
        return dict(state)
    renamed = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        own = f"classifier.{kind}" if layer == model.head_name else f"backbone.{name}"
        renamed[own] = value
    return renamed


def _load(model: Classifier, state: Mapping[str, Tensor], path: Path) -> None:
    wanted = model.state_dict()
    kept = {name: value for name, value in state.items() if name in wanted}
    missing = [name for name in wanted if name not in kept and "num_batches" not in name]
    wrong = [name for name, value in kept.items() if value.shape != wanted[name].shape]
    if missing or wrong:
        first = f"{missing[0]} is missing" if missing else f"{wrong[0]} has another shape"
        raise ValueError(f"{path} does not hold the weights of this model: {first}")
    model.load_state_dict(kept, strict=False)


def find(places: Sequence[str], limit: int) -> list[Path]:
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
    return list(dict.fromkeys(found))[:limit]


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
        lambda inputs: ready.normalise(inputs.cpu()).to(place),
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
    other = figures.runner_up(predicted, probs) if chosen is None else np.full_like(predicted, chosen)
    explained = predicted if chosen is None else other
    files = _Writer(out, paths, names)
    if "gradcam" in methods:
        _gradcam(files, view, images, np.stack([predicted, other], axis=1), probs, at)
    if "feature_maps" in methods:
        for layer in at:
            files.figure(f"feature_maps_{file_name(layer)}", explanations.feature_maps(view, images, layer))
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

    def overlays(
        self, method: str, images: Any, maps: Any, classes: Any, colormap: str
    ) -> None:
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
