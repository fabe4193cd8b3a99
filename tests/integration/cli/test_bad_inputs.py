"""Whatever is typed or lies in a folder works, or is answered by one clear line.

A few cases in the plain run; the slow one takes some thousand.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from examples import at_most
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from imbalance_study.config import choices, resolve, spec
from imbalance_study.data import datasets, longtail
from imbalance_study.data.image_set import ImageSet
from imbalance_study.evaluation import metrics
from imbalance_study.experiment.setup.components import bind
from imbalance_study.experiment.setup.data import load_data

REGISTRIES = {
    "loss": choices.LOSSES,
    "class_weights": choices.CLASS_WEIGHTS,
    "sampler": choices.SAMPLERS,
    "mix": choices.MIXES,
    "augmentation": choices.AUGMENTATIONS,
    "optimizer": choices.OPTIMIZERS,
    "schedule": choices.SCHEDULES,
    "imbalance": choices.IMBALANCES,
    "validation": choices.VALIDATIONS,
}
NUMBERS = st.one_of(
    st.integers(-3, 10**6).map(str),
    st.floats(allow_nan=True, allow_infinity=True).map(repr),
    st.sampled_from(
        ["", "0", "-0", "1e400", "1e-400", "0.5", "1", "true", "none", "x", "1,2", "٣"]
    ),
)
NAMES = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\x00"),
    min_size=1,
    max_size=20,
).filter(lambda name: name not in (".", ".."))
QUIET = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}


def over(few, *strategies):
    """The test over some cases of the strategies and, marked slow, over ten times `few`."""

    def twice(test):
        @pytest.mark.parametrize(
            "cases", [at_most(few), pytest.param(10 * few, marks=pytest.mark.slow)]
        )
        def run(cases):
            settings(max_examples=cases, **QUIET)(given(*strategies)(test))()

        run.__name__ = test.__name__
        return run

    return twice


def answered(call):
    """What the call returns, or None where it is answered by one clear line."""
    answer = ""
    try:
        return call()
    except (ValueError, OSError) as error:
        answer = str(error)
    assert len(answer) > 10
    assert "Traceback" not in answer
    return None


@st.composite
def specs(draw):
    """A name with options, right and wrong ones mixed."""
    kind = draw(st.sampled_from(sorted(REGISTRIES)))
    name = draw(st.one_of(st.sampled_from(sorted(REGISTRIES[kind])), NAMES))
    known = ["gamma", "tau", "beta", "alpha", "ratio", "q", "warmup", "momentum", "fraction", "s"]
    pairs = draw(st.lists(st.tuples(st.sampled_from(known), NUMBERS), max_size=2))
    text = ",".join(f"{option}={value}" for option, value in pairs)
    return kind, f"{name}:{text}" if text else name


@over(150, specs())
def test_a_spec_string_is_bound_or_answered(case):
    kind, text = case
    reserved = frozenset({"progress", "class_errors", "lr", "weight_decay"})
    found = answered(lambda: spec.bind(REGISTRIES[kind], text, kind, reserved))
    assert found is None or callable(found)


@pytest.mark.parametrize("name", [".x:f", "..:f", ":f", "no such module:f", "math:"])
def test_a_function_that_cannot_be_imported_is_answered(name):
    with pytest.raises(ValueError, match="cannot be imported"):
        spec.find(choices.LOSSES, name, "loss")


KNOBS = st.fixed_dictionaries(
    {},
    optional={
        "loss": st.tuples(st.sampled_from(sorted(choices.LOSSES)), NUMBERS).map(
            lambda pair: f"{pair[0]}:gamma={pair[1]}"
        ),
        "sampler": st.sampled_from([*choices.SAMPLERS, "power:q=7", "power:q=-1"]),
        "class_weights": st.sampled_from([*choices.CLASS_WEIGHTS, "effective:beta=1"]),
        "imbalance_ratio": NUMBERS,
        "batch_size": NUMBERS,
        "lr": NUMBERS,
        "epochs": NUMBERS,
        "defer": NUMBERS,
        "label_smoothing": NUMBERS,
        "validation": st.sampled_from(
            ["none", "stratified:fraction=0.9", "stratified:fraction=2", "balanced:per_class=9999"]
        ),
        "mix": st.sampled_from([*choices.MIXES, "mixup:alpha=-1"]),
        "weights": st.sampled_from(["none", "/nowhere/x.pt", "imagenet"]),
        "freeze": st.sampled_from(["none", "head_only", "partial:blocks=99", "gradual:x=1"]),
    },
)


@over(60, KNOBS)
def test_a_configuration_gives_counts_and_a_loss_that_are_numbers_or_is_answered(options):
    def cut():
        found = resolve.make(dataset="digits", **options)
        choices = bind(found)
        if found.weights != "none":
            return None
        return found, choices, load_data(found, choices)

    made = answered(cut)
    if made is None:
        return
    found, choices, data = made
    assert (data.class_counts >= 1).all()
    assert data.class_counts.sum() == len(data.train_rows)
    counts = torch.from_numpy(data.class_counts).float()
    logits = torch.linspace(-3, 3, 4 * data.num_classes).reshape(4, -1)
    values = choices.loss.function(logits, torch.tensor([0, 1, 2, 3]), counts)
    assert torch.isfinite(values).all(), found.loss
    weights = choices.class_weights.function(counts)
    assert torch.isfinite(weights).all()
    assert weights.sum() == pytest.approx(data.num_classes, rel=1e-3)


@st.composite
def class_counts(draw):
    """Images of each class, many kinds of uneven."""
    return draw(st.lists(st.integers(0, 60), min_size=1, max_size=12))


@over(
    60,
    class_counts(),
    st.sampled_from(
        ["none", "exponential:ratio=7", "step:ratio=3,fraction=0.4", "explicit:counts=3/2"]
    ),
    st.sampled_from(["none", "stratified:fraction=0.2", "balanced:per_class=3"]),
    st.integers(0, 5),
)
def test_any_distribution_of_labels_is_cut_into_parts_that_share_no_image(
    counts, profile, validation, seed
):
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.zeros((len(labels), 2, 2, 3), np.uint8)
    empty = np.zeros(0, np.int64)

    def cut():
        image_set = ImageSet(
            name="made up",
            images=images,
            labels=labels,
            class_names=tuple(f"class {label}" for label in range(len(counts))),
            files=tuple(str(index) for index in range(len(labels))),
            train=np.arange(len(labels)),
            val=empty,
            test=empty,
            groups=empty,
            skipped=(),
        )
        return longtail.make_split(
            image_set,
            imbalance=spec.bind(choices.IMBALANCES, profile, "imbalance"),
            validation=spec.bind(choices.VALIDATIONS, validation, "validation"),
            data_seed=seed,
        )

    split = answered(cut)
    if split is None:
        return
    everyone = np.concatenate(split)
    assert len(np.unique(everyone)) == len(everyone)
    assert set(everyone) <= set(range(len(labels)))
    assert set(labels[split.test]) <= set(labels)
    found = metrics.confusion_matrix(labels[split.test], labels[split.test], len(counts))
    assert found.sum() == len(split.test)


CONTENTS = st.sampled_from(["image", "tiny", "grey", "empty", "text", "cut", "folder", "wide"])


@over(
    20,
    st.dictionaries(NAMES, st.lists(st.tuples(NAMES, CONTENTS), max_size=4), max_size=4),
    st.sampled_from(["error", "skip"]),
)
def test_any_folder_is_read_or_answered(tree, on_bad_image):
    place = Path(tempfile.mkdtemp(prefix="bad_inputs_"))
    try:
        data = place / "data"
        data.mkdir()
        good = _plant(data, tree)
        found = answered(
            lambda: datasets.load(
                "imagefolder",
                str(data),
                image_size=4,
                on_bad_image=on_bad_image,
                cache_dir=str(place / "cache"),
                workers=1,
            )
        )
        if found is not None:
            assert len(found.labels) == len(found.files) == len(found.images) <= good
            assert found.images.shape[1:] == (4, 4, 3)
            assert sorted(set(found.labels)) == list(range(len(found.class_names)))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _plant(folder, tree):
    """Write the tree; returns how many files are images."""
    good = 0
    for name, files in tree.items():
        with_files = folder / name
        with_files.mkdir(exist_ok=True)
        for index, (file, content) in enumerate(files):
            path = with_files / f"{file}{index}.png"
            if content == "folder":
                path.mkdir()
                continue
            size = {"tiny": (1, 1), "wide": (90, 2)}.get(content, (5, 7))
            mode = "L" if content == "grey" else "RGB"
            if content in ("empty", "text"):
                path.write_bytes(b"" if content == "empty" else b"no image")
                continue
            Image.new(mode, size, 99).save(path)
            if content == "cut":
                path.write_bytes(path.read_bytes()[:40])
            else:
                good += 1
    return good
