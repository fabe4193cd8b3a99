"""The analyses of a finished training, beyond its metrics.

Each one takes an `EvaluationContext` and returns an `AnalysisResult`; a chain of their names, or
of the groups standard and all, chooses among them. A failure becomes a note: a picture that cannot
be drawn must not cost the training.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from imbalance_study.config import choices, spec
from imbalance_study.config.choice import with_trait
from imbalance_study.evaluation import embedding
from imbalance_study.experiment.analyses import saliency
from imbalance_study.experiment.analyses.context import AnalysisResult, EvaluationContext
from imbalance_study.models.classifier import Classifier
from imbalance_study.training.callback import Callback

_NAMES = tuple(
    name
    for name, choice in choices.ANALYSES.items()
    if choice.address and "part" not in choice.traits
)
_GROUPS = {"standard": with_trait(choices.ANALYSES, "standard"), "all": _NAMES, "none": ()}


def names_in(text: str) -> frozenset[str]:
    """Return the analyses that a chain such as ``standard+occlusion+mine:function`` asks for.

    Raises:
        ValueError: An unknown name, or ``none`` beside others.
    """
    parts = [part.strip() for part in text.split("+")]
    if "none" in parts and len(parts) > 1:
        raise ValueError(f"analyses=none goes with nothing else, got {text!r}")
    found: set[str] = set()
    for part in parts:
        spec.check_name(choices.ANALYSES, part, "analysis")
        found.update(_GROUPS.get(part, (part,)))
    return frozenset(found)


def check(text: str, gradcam_layers: str, model: Classifier) -> frozenset[str]:
    """Return the analyses that a chain asks for, all of them possible with this model.

    Raises:
        ValueError: An unknown analysis or layer.
    """
    wanted = names_in(text)
    _functions(wanted)
    if wanted & {*with_trait(choices.ANALYSES, "layers")}:
        saliency.layers_of(model, gradcam_layers)
    return wanted


def _functions(wanted: frozenset[str]) -> dict[Callable[[EvaluationContext], AnalysisResult], str]:
    """Import each function once, those of the user's own last: function to name."""
    named = [name for name in choices.ANALYSES if name in wanted]
    named += sorted(name for name in wanted if ":" in name)
    return {spec.find(choices.ANALYSES, name, "analysis"): name for name in named}


class WarmUp(Callback):
    """Starts to compile UMAP beside the training, after its first update, where it is wanted.

    Attributes:
        wanted: Names of the analyses.
        thread: Compiles UMAP; None before it started.
    """

    def __init__(self) -> None:
        self.wanted: frozenset[str] = frozenset()
        self.thread: threading.Thread | None = None

    def on_batch_end(self, images: int, loss: float) -> None:
        """See `Callback`."""
        if self.thread is None and "umap" in self.wanted:
            self.thread = embedding.warm_up_umap()


def analyse(context: EvaluationContext) -> AnalysisResult:
    """Run the analyses that are wanted."""
    functions = _functions(context.wanted)
    found = AnalysisResult()
    for function, name in functions.items():
        begun = time.perf_counter()
        try:
            found.add(function(context))
        except Exception as error:
            found.notes.append(f"{name} failed: {type(error).__name__}: {error}")
        found.seconds[name] = time.perf_counter() - begun
    if functions:
        found.metrics["time/analyses_seconds"] = sum(found.seconds.values())
    return found
