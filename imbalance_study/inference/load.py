"""Loading of a trained model from a file of weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from imbalance_study.config import choices, spec
from imbalance_study.config.schema import Config
from imbalance_study.data.decode import AS_BEFORE, Decoding
from imbalance_study.experiment.setup import procedures
from imbalance_study.experiment.setup.components import bind_loss, head_spec
from imbalance_study.experiment.setup.facts import RunFacts
from imbalance_study.models import checkpoint, imagenet, pretrained, serving, zoo
from imbalance_study.models.classifier import Classifier


class LoadedModel(NamedTuple):
    """A trained model with its preprocessing, class names and configuration."""

    model: Classifier
    probabilities: Callable[[Tensor], Tensor]
    mean: Sequence[float]
    std: Sequence[float]
    class_names: Sequence[str]
    image_size: int
    config: Config | None = None  # of its run, if it has one
    decoding: Decoding = AS_BEFORE  # of image files

    def normalise(self, images: Tensor) -> Tensor:
        """Convert images uint8 (N, 3, H, W) to the input of the model, float32 (N, 3, H, W)."""
        scale, shift = serving.scale_and_shift(self.mean, self.std)
        return images.float() * scale.to(images.device) + shift.to(images.device)

    def raw(self) -> serving.RawImageClassifier:
        """Make a model from raw images uint8 (N, H, W, 3) to probabilities (N, C)."""
        return serving.RawImageClassifier(
            self.model, self.probabilities, self.mean, self.std
        ).eval()


def from_checkpoint(
    path: Path, model: str = "", *, own_code: bool = False, name: str = ""
) -> LoadedModel:
    """Rebuild the model of a run from its checkpoint.

    Args:
        path: Checkpoint as `experiment.run` writes it: with weights, configuration and facts.
        model: Expected name of the model; any when empty.
        own_code: Import the functions ``package.module:function`` that the configuration names.
            Only for trusted files: the functions that they name are called.
        name: Address of the run in a store that the file is from, for messages.

    Raises:
        ValueError: The file is no such checkpoint, it is of another model, or it names a function
            that may not be imported.
    """
    content = checkpoint.load(path)
    if not {"model", "config", "facts"} <= content.keys():
        raise ValueError(f"{path} holds weights only; say which model they are of")
    config = Config.from_dict(content["config"])
    if model and model != config.model:
        raise ValueError(f"{path} holds {config.model}, not model={model}")
    if not own_code:
        _refuse_own_code(config, path, model, name)
    facts = RunFacts.from_dict(content["facts"])
    names, size = facts.class_names, facts.image_size
    network = zoo.create(
        config.model,
        len(names),
        image_size=size,
        stem=pretrained.stem_of(content["config"], content["facts"]),
        head=head_spec(config.head, spec.parse(config.loss).name),
    )
    network.decoder = None
    if config.stage2 != "none":
        spec.bind(choices.STAGES, config.stage2, "stage2")(network)  # puts its head in place
    _load(network, content["model"], path)
    return LoadedModel(
        network.eval(),
        _softmax if config.stage2 != "none" else procedures.probabilities(bind_loss(config)),
        facts.mean,
        facts.std,
        names,
        size,
        config,
        Decoding.from_dict(facts.decoding or {}),
    )


def _refuse_own_code(config: Config, path: Path, named: str, address: str) -> None:
    """Refuse functions that a file names, unless the user typed the same name beside it."""
    functions = own_functions(config)
    for option in ("model", "loss", "head", "stage2"):
        if option in functions and getattr(config, option) != named:
            if address:
                raise ValueError(
                    f"{address} names the function {functions[option]} as its {option}, which "
                    "would be imported and called here; if you trust all who can write to this "
                    "store, add own_code=true"
                )
            raise ValueError(
                f"{path} names the function {functions[option]} as its {option}, and a file does "
                "not decide which code is run; take the model from its run, with runs:/ID"
            )


def own_functions(config: Config) -> dict[str, str]:
    """Find the options whose value names code outside the registry: option to ``module:function``.

    Loading the data of such a configuration calls that code.
    """
    found: dict[str, str] = {}
    for field in dataclasses.fields(config):
        if field.metadata["choices"] is not None:
            text = getattr(config, field.name)
            specs = spec.parse_chain(text) if field.metadata["chain"] else [spec.parse(text)]
            functions = [one.name for one in specs if ":" in one.name]
            if functions:
                found[field.name] = functions[0]
    return found


def from_weights(model: str, weights: str, class_names_file: str = "none") -> LoadedModel:
    """Load a model with weights from a file, or with the published ones (``imagenet``).

    The file is a checkpoint of a run, or a state_dict of the model as torchvision, timm or this
    package makes it. For a state_dict, images are normalised as for the published weights of the
    model.

    Args:
        model: Spec string of the model; may be empty for a checkpoint of a run.
        weights: ``imagenet`` or a file.
        class_names_file: Names of the classes of a state_dict, a line each; ``none``: the classes
            are numbers.

    Raises:
        ValueError: The weights are missing, cannot be downloaded, or belong to another model.
    """
    path = Path(weights).expanduser()
    if weights != "imagenet":
        if not path.is_file():
            raise ValueError(f"weights must be imagenet or a file, got {weights!r}")
        if "config" in checkpoint.load(path) and class_names_file == "none":
            return from_checkpoint(path, model)
        if not model:
            raise ValueError(
                f"{path} holds weights only; say which model they are of with model=NAME"
            )
    source = pretrained.find(weights, model, class_names_file=class_names_file)
    assert source is not None
    size = source.image_size or 224
    stem = "imagenet" if weights == "imagenet" else "auto"
    rows = len(source.class_names) or _rows(source, zoo.create(model, 2, image_size=size))
    network = zoo.create(model, rows, image_size=size, stem=stem)
    network.decoder = None
    _load(network, pretrained.state_for(network, source), source.path)
    names = source.class_names or [str(label) for label in range(rows)]
    mean, std = (source.mean, source.std) if source.mean else imagenet.preprocessing()
    return LoadedModel(network.eval(), _softmax, mean, std, names, size)


def _rows(source: pretrained.Source, model: Classifier) -> int:
    """Count the classes of a state_dict: the rows of its last layer, else of its last matrix."""
    state = pretrained.state_for(model, source)
    matrices = [value for value in state.values() if value.ndim == 2]
    if not matrices:
        raise ValueError(f"{source.path} is no state_dict with a matrix for a last layer")
    return len(state.get("classifier.weight", matrices[-1]))


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(1)


def _load(model: Classifier, state: Mapping[str, Tensor], path: Path) -> None:
    expected = model.state_dict()
    kept = {name: value for name, value in state.items() if name in expected}
    missing = [name for name in expected if name not in kept and "num_batches" not in name]
    wrong = [name for name, value in kept.items() if value.shape != expected[name].shape]
    if missing or wrong:
        first = f"{missing[0]} is missing" if missing else f"{wrong[0]} has another shape"
        raise ValueError(f"{path} does not hold the weights of this model: {first}")
    model.load_state_dict(kept, strict=False)
