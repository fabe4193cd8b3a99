"""SPACE: the dimensions of a search as one table, a row per dimension, and its baselines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from imbalance_study.config import choices
from imbalance_study.config.choice import Registry, with_trait

When = tuple[dict[str, tuple[str, ...]], ...]


class Axis(NamedTuple):
    """One dimension of the search.

    Attributes:
        name: Name of the parameter in Optuna.
        groups: Groups of the option `search`, any of which includes the dimension.
        writes: ``option``, or ``option:key`` for an option of a spec.
        default: Value in the baselines; ``""``: that of the configuration.
        choices: Values of a categorical dimension; empty for a number.
        low: Smallest number.
        high: Largest.
        log: Whether it is sampled by its logarithm.
        whole: Whether it is a whole number.
        form: Key of `FORMS`, or ``factor`` of the usual value.
        when: Alternatives of conditions, under one of which the dimension exists; none: always.
    """

    name: str
    groups: tuple[str, ...]
    writes: str
    default: Any
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    form: str = "number"
    when: When = ()


GROUPS = {
    "loss": "loss, its options, class weights, label smoothing, deferral",
    "sampler": "sampler and its options, deferral",
    "optimizer": "optimizer, learning rate, weight decay, batch size",
    "augment": "more augmentation, mixing and its strength",
}


def _searched(registry: Registry) -> tuple[str, ...]:
    """List the choices of a registry that a search includes."""
    return with_trait(registry, "searched")


_CORRECTING = with_trait(choices.LOSSES, "correcting")
_PLAIN = tuple(name for name in _searched(choices.LOSSES) if name not in _CORRECTING)
_UNWEIGHTED = {"loss": _PLAIN, "class_weights": ("none",)}
_SMOOTHABLE = with_trait(choices.LOSSES, "smoothable")
_WEIGHTS = _searched(choices.CLASS_WEIGHTS)
_SAMPLERS = _searched(choices.SAMPLERS)
_MIXES = _searched(choices.MIXES)

SPACE: tuple[Axis, ...] = (
    Axis("loss", ("loss",), "loss", "cross_entropy", _searched(choices.LOSSES)),
    Axis("label_smoothing", ("loss",), "label_smoothing", 0.0, high=0.2,
         when=({"loss": _SMOOTHABLE},)),
    Axis("gamma", ("loss",), "loss:gamma", 2.0, low=0.5, high=4,
         when=({"loss": ("focal", "sigmoid_focal")},)),
    Axis("tau", ("loss",), "loss:tau", 1.0, low=0.25, high=2.5,
         when=({"loss": ("logit_adjusted", "vs")},)),
    Axis("vs_gamma", ("loss",), "loss:gamma", 0.15, low=0.02, high=0.4,
         when=({"loss": ("vs",)},)),
    Axis("margin", ("loss",), "loss:max_m", 0.5, low=0.1, high=1, when=({"loss": ("ldam",)},)),
    Axis("class_weights", ("loss",), "class_weights", "none", ("none", *_WEIGHTS),
         when=({"loss": _PLAIN},)),
    Axis("log10_one_minus_beta", ("loss",), "class_weights:beta", -4.0, low=-5, high=-1,
         form="one minus power", when=({"class_weights": ("effective",)},)),
    Axis("sampler", ("sampler",), "sampler", "shuffle", ("shuffle", *_SAMPLERS),
         when=(_UNWEIGHTED,)),
    Axis("q", ("sampler",), "sampler:q", 0.5, low=0, high=0.9, when=({"sampler": ("power",)},)),
    Axis("defer", ("loss", "sampler"), "defer", 0.0, high=0.9,
         when=({"class_weights": _WEIGHTS}, {"sampler": _SAMPLERS})),
    Axis("optimizer", ("optimizer",), "optimizer", "", _searched(choices.OPTIMIZERS)),
    Axis("lr_factor", ("optimizer",), "lr", 1.0, low=0.1, high=10, log=True, form="factor"),
    Axis("weight_decay_factor", ("optimizer",), "weight_decay", 1.0, low=0.1, high=10, log=True,
         form="factor"),
    Axis("log2_batch_size", ("optimizer",), "batch_size", "", low=4, high=8, whole=True,
         form="power of two"),
    Axis("more_augment", ("augment",), "augment", "none",
         ("none", *_searched(choices.AUGMENTATIONS))),
    Axis("mix", ("augment",), "mix", "none", ("none", *_MIXES)),
    Axis("mix_alpha", ("augment",), "mix:alpha", 1.0, low=0.1, high=2, log=True,
         when=({"mix": _MIXES},)),
)  # fmt: skip

# Points that a search tries first, with the default of every dimension that is not named. Every
# loss is among them: TPE does not learn about a loss that it has never sampled.
BASELINES: dict[str, dict[str, Any]] = {
    "default": {},
    "cross_entropy": {"loss": "cross_entropy"},
    "balanced_softmax": {"loss": "balanced_softmax"},
    "ldam_drw": {"loss": "ldam", "class_weights": "effective", "defer": 0.8},
    "effective_weights": {"loss": "cross_entropy", "class_weights": "effective"},
    "class_balanced_sampler": {"loss": "cross_entropy", "sampler": "class_balanced"},
    "logit_adjusted": {"loss": "logit_adjusted", "tau": 1.5},  # tau 1 is balanced softmax
    "focal": {"loss": "focal"},
    "vs": {"loss": "vs"},
    "sigmoid_focal": {"loss": "sigmoid_focal"},
}
_TRIED = {baseline.get("loss") for baseline in BASELINES.values()}
BASELINES |= {name: {"loss": name} for name in _searched(choices.LOSSES) if name not in _TRIED}

# Remedies that are off by Config's default.
OFF = ("class_weights", "sampler", "mix", "label_smoothing", "defer")
# Options that are specs.
SPECS = ("loss", "class_weights", "sampler", "mix", "optimizer")
# Dimensions that no check of compatibility looks at.
INDEPENDENT = ("optimizer", "more_augment", "model")

# Form of a number in an option.
FORMS: dict[str, Callable[[float], str]] = {
    "number": lambda value: f"{value:.6g}",
    "one minus power": lambda value: f"{1 - 10**value:.9g}",
    "power of two": lambda value: str(2 ** int(value)),
}
