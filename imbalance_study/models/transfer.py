"""Transfer of weights from one model to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from imbalance_study.models.classifier import Classifier

# Least share of tensors that must fit, or the weights are of another architecture. A stem, or the
# fully connected layers before the last, may differ; a depth or a width may not.
_SAME_MODEL = 0.8


class Loaded(NamedTuple):
    """Outcome of loading weights; names of tensors are those of a Classifier."""

    loaded: list[str]
    new: list[str]  # tensors of the model that stay random: not among the weights, or another shape
    left: list[str]  # tensors of the weights that the model does not have
    head: str  # "loaded", or why it is new
    by_order: bool = False  # the names differ: tensors were matched by their order


def own_names(model: Classifier, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors to those of a Classifier, whose last Linear is called classifier."""
    if any(name.startswith("backbone.") for name in state):
        return dict(state)
    renamed = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        own = f"classifier.{kind}" if layer == model.head_name else f"backbone.{name}"
        renamed[own] = value
    return renamed


def load(
    model: Classifier,
    state: Mapping[str, Tensor],
    origin: str,
    *,
    source_classes: Sequence[str] = (),
    class_names: Sequence[str] = (),
) -> Loaded:
    """Put weights into a model, in place: every tensor with a matching name and shape.

    The head is taken over when both have the same classes, its rows put into the order of
    `class_names`; otherwise it stays as it was drawn. The decoder of an autoencoder is taken over
    where there is one on both sides.

    Args:
        model: A model with weights drawn at random.
        state: Name to tensor, with the names of a Classifier or of the network inside it.
        origin: The file or run of the weights, for messages.
        source_classes: Class names of the head in `state`.
        class_names: Names of the classes of `model`, in label order.

    Raises:
        ValueError: The weights are of another architecture.
    """
    wanted = _weights(model.state_dict())
    named = _weights(own_names(model, state))
    backbone = {name for name in wanted if name.startswith("backbone.")}
    given = named if backbone <= set(named) else _by_order(_weights(state), wanted) or named
    fitting = {
        name: value
        for name, value in given.items()
        if name in wanted and value.shape == wanted[name].shape
    }
    _check_architecture(given, wanted, fitting, origin)
    head, rows = _head(given, wanted, fitting, source_classes, class_names)
    for name in list(fitting):
        if name.startswith("classifier."):
            if rows is None:
                del fitting[name]
            elif fitting[name].shape[:1] == (len(rows),) and _on_logits(name, wanted):
                fitting[name] = fitting[name][rows]
    model.load_state_dict(fitting, strict=False)
    return Loaded(
        loaded=[name for name in wanted if name in fitting],
        new=[name for name in wanted if name not in fitting],
        left=[name for name in given if name not in fitting],
        head=head,
        by_order=given is not named,
    )


def _by_order(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of another implementation of the same network, in order.

    Number, order, shape and last part of the name (weight, running_mean, ...) of the backbone's
    tensors must agree. Of two more tensors, weight and bias of a Linear, the head is made.

    Returns:
        Name in the model to tensor; empty where they do not agree.
    """
    mine = [name for name in wanted if name.startswith("backbone.")]
    theirs = list(state)
    rest = theirs[len(mine) :]
    ends = [name.rpartition(".")[2] for name in rest]
    if len(theirs) < len(mine) or ends not in ([], ["weight", "bias"]):
        return {}
    for own, other in zip(mine, theirs, strict=False):
        same_kind = own.rpartition(".")[2] == other.rpartition(".")[2]
        if not same_kind or wanted[own].shape != state[other].shape:
            return {}
    renamed = dict(zip(mine, (state[name] for name in theirs), strict=False))
    return renamed | {
        f"classifier.{end}": state[name] for end, name in zip(ends, rest, strict=True)
    }


def _weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a state, without the counters of batch norm."""
    return {
        name: value
        for name, value in state.items()
        if isinstance(value, Tensor) and not name.endswith("num_batches_tracked")
    }


def _check_architecture(
    given: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    fitting: Mapping[str, Tensor],
    origin: str,
) -> None:
    mine = [name for name in wanted if name.startswith("backbone.")]
    theirs = [name for name in given if name.startswith("backbone.")]
    fit = sum(name.startswith("backbone.") for name in fitting)
    most = max(len(mine), len(theirs))
    if fit >= _SAME_MODEL * most:
        return
    odd = next(name for name in [*mine, *theirs] if name not in fitting)
    here, there = (_shape(tensors.get(odd)) for tensors in (wanted, given))
    raise ValueError(
        f"{origin} holds the weights of another model: {fit} of {most} tensors fit; "
        f"{odd.removeprefix('backbone.')} is {there} there and {here} in this model"
    )


def _shape(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else "x".join(map(str, tensor.shape)) or "a number"


def _head(
    given: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    fitting: Mapping[str, Tensor],
    source_classes: Sequence[str],
    class_names: Sequence[str],
) -> tuple[str, list[int] | None]:
    """Return the fate of the head, and the row of each class in it; None for a new head."""
    if not source_classes or sorted(source_classes) != sorted(class_names):
        return "new: other classes", None
    if len(set(class_names)) != len(class_names):
        return "new: two classes have the same name", None
    mine = {name for name in wanted if name.startswith("classifier.")}
    if mine != {name for name in given if name.startswith("classifier.")} or not mine <= set(
        fitting
    ):
        return "new: another kind of head", None
    rows = [list(source_classes).index(name) for name in class_names]
    return ("loaded", rows) if rows == sorted(rows) else ("loaded, classes in another order", rows)


def _on_logits(name: str, wanted: Mapping[str, Tensor]) -> bool:
    """Return whether a tensor of the head belongs to its last layer, whose rows are classes."""
    last = [key for key in wanted if key.startswith("classifier.")][-1]
    return name.rpartition(".")[0] == last.rpartition(".")[0]
