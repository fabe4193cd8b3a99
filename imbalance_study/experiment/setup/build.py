"""The set-up of a run: everything that its training and evaluation need, built once."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from imbalance_study.config.schema import Config
from imbalance_study.experiment import auto_batch_size, auto_lr, auto_precision
from imbalance_study.experiment.setup import features as features_setup
from imbalance_study.experiment.setup import model as model_setup
from imbalance_study.experiment.setup import procedures
from imbalance_study.experiment.setup.data import Parts, parts_of
from imbalance_study.experiment.setup.device import uses_tf32
from imbalance_study.experiment.setup.facts import RunFacts
from imbalance_study.experiment.setup.features import FeatureParts
from imbalance_study.experiment.setup.inputs import LocalFiles, RunInputs, load_inputs
from imbalance_study.models import profiling
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import distributed
from imbalance_study.training.lr_range_test import RangeTest
from imbalance_study.training.procedure import Procedure


@dataclasses.dataclass(frozen=True)
class RunSetup(RunInputs):
    """A run that is ready to train: every ``auto`` of its configuration is decided.

    The batch size stands in `config`, device, precision and memory format in `device_setup`, the
    head in `choices`, the stem in `model`, the learning rate in `procedure`, size and
    normalisation of the images in `data`.
    """

    parts: Parts
    model: Classifier
    procedure: Procedure  # of the only stage, or of the first
    facts: RunFacts
    range_test: RangeTest | None  # that found the learning rate
    features: FeatureParts | None = None  # of the frozen backbone, where the head trains on them


def build(
    config: Config,
    local: LocalFiles | None = None,
    *,
    test: bool = True,
    before: RunFacts | None = None,
) -> RunSetup:
    """Build the set-up of a run.

    Draws from torch's default generators; the caller keeps them from the rest of the process.

    Args:
        config: As `resolve.make` or `resolve.resolve` give it.
        local: Downloaded weights, and images in memory.
        test: Prepare the test part as well.
        before: The facts of the run that goes on; learning rate, precision and memory format are
            taken from there instead of being found anew.

    Raises:
        ValueError: The configuration, the data or the weights are wrong; the message says how.
    """
    inputs = load_inputs(config, local)
    parts = parts_of(inputs.data, inputs.config, inputs.device_setup.device, test=test)
    inputs = auto_batch_size.settle(inputs, parts.train)
    inputs, verdict = auto_precision.settle(inputs, parts.train, before)
    built = model_setup.build(inputs)
    features = features_setup.of(inputs, built.model, parts, local)
    lr, range_test = _learning_rate(inputs, built.model, parts, features, before)
    procedure = procedures.first(inputs, built.model, lr)
    facts = dataclasses.replace(
        _facts(inputs, built.model),
        probe_seconds=None if verdict is None else verdict.seconds,
        weights=built.weights,
        trainable_from_epoch=procedures.trainable_over_epochs(inputs, built.model),
        lr=lr if config.lr == "auto" else None,
        features=None if features is None else features_setup.describe(features),
        **_of_gpu(inputs, procedure),
    )
    return RunSetup(
        **_fields(inputs),
        parts=parts,
        model=built.model,
        procedure=procedure,
        facts=facts,
        range_test=range_test,
        features=features,
    )


def _learning_rate(
    inputs: RunInputs,
    model: Classifier,
    parts: Parts,
    features: FeatureParts | None,
    before: RunFacts | None,
) -> tuple[float, RangeTest | None]:
    """Return the learning rate, and the range test that found it where there was one."""
    if inputs.config.lr != "auto":
        return inputs.config.lr, None
    if before is not None and before.lr is not None:
        return before.lr, None
    train = (features.parts if features else parts).train
    with auto_batch_size.advised(inputs, parts.train, model):
        tested = auto_lr.range_test(inputs, model, train)
    return tested.suggestion, tested


def _fields(inputs: RunInputs) -> dict[str, Any]:
    return {field.name: getattr(inputs, field.name) for field in dataclasses.fields(inputs)}


def _of_gpu(inputs: RunInputs, procedure: Procedure) -> dict[str, Any]:
    """Return the facts that a GPU alone has."""
    device_setup = inputs.device_setup
    if device_setup.device.type != "cuda":
        return {}
    against = procedures.against_capture(device_setup, procedure.optimizer)
    off = f"off: {against}" if against else f"off: cuda_graph={inputs.config.cuda_graph}"
    return {
        "tf32": uses_tf32(device_setup.device),
        "cuda_graph": "on" if procedure.cuda_graph else off,
    }


def _facts(inputs: RunInputs, model: Classifier) -> RunFacts:
    data, device_setup = inputs.data, inputs.device_setup
    parameters = profiling.count_parameters(model, without="decoder")
    return RunFacts(
        fingerprint=data.fingerprint,
        class_names=list(data.image_set.class_names),
        train_counts=data.class_counts.tolist(),
        images={name: len(rows) for name, rows in data.split._asdict().items()},
        skipped_images=list(data.image_set.skipped),
        image_size=data.image_size,
        decoding=data.image_set.decoding.to_dict(),
        mean=data.mean.tolist(),
        std=data.std.tolist(),
        parameters=parameters.total,
        trainable_parameters=parameters.trainable,
        frozen_parameters=parameters.total - parameters.trainable,
        stem=model.stem,
        batch_size=int(inputs.config.batch_size),
        processes=distributed.group().size,
        device=device_setup.device.type,
        threads=torch.get_num_threads(),
        precision=device_setup.precision,
        memory_format="channels_last" if device_setup.channels_last else "contiguous",
    )
