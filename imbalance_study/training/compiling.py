"""Optional compilation of the model's part of a step."""

from __future__ import annotations

import importlib.util
import os
import shutil
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from imbalance_study.models.classifier import Classifier
from imbalance_study.training.distributed import Group
from imbalance_study.training.procedure import Procedure

Network = Callable[[Tensor], tuple[Tensor, Tensor]]


def network(model: Classifier, procedure: Procedure, group: Group) -> Network:
    """Return a function from images to features (N, F) and logits (N, C), compiled if asked for.

    A last, smaller batch runs uncompiled, as it would have to be compiled separately. Dropout draws
    the same numbers as without compilation.

    Raises:
        ValueError: There is no compiler.
    """

    def plain(images: Tensor) -> tuple[Tensor, Tensor]:
        features = model.forward_features(images)
        return features, model.forward_head(features)

    if not procedure.compile:
        return plain
    _check_compiler(procedure.class_counts.device)
    compiled = torch.compile(_own(plain), dynamic=False, options={"fallback_random": True})
    mine = group.part(procedure.batch_size)
    full = mine.stop - mine.start

    def chosen(images: Tensor) -> tuple[Tensor, Tensor]:
        run = compiled if len(images) == full else plain
        features_and_logits: tuple[Tensor, Tensor] = run(images)
        return features_and_logits

    return chosen


def _own(function: Any) -> Any:
    """Return the function with a code object of its own.

    torch counts compilations by code object and gives up after eight, without an error: the ninth
    model of a process would train uncompiled.
    """
    own = types.FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    own.__kwdefaults__ = function.__kwdefaults__
    return own


def _check_compiler(device: torch.device) -> None:
    if device.type == "cpu":
        from torch._inductor import cpp_builder, exc

        try:
            cpp_builder.get_cpp_compiler()
        except exc.InvalidCxxCompiler as error:
            raise ValueError(
                "compile=true needs a C++ compiler on a processor, and there is none; install "
                "g++, name another one in the variable CXX, or set compile=false"
            ) from error
    elif device.type == "mps" or importlib.util.find_spec("triton") is None:
        raise ValueError(
            f"compile=true needs Triton on {device.type}, and there is none; set compile=false"
        )
    elif not any(map(shutil.which, (os.environ.get("CC") or "cc", "gcc", "clang"))):
        raise ValueError(
            "compile=true needs a C compiler on cuda, and there is none; install gcc, name another "
            "one in the variable CC, or set compile=false"
        )
