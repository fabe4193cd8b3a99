import dataclasses

import numpy as np
import pytest
from PIL import Image
from torch import nn

from imbalance_study.config import choices, spec
from imbalance_study.config.choice import Choice
from imbalance_study.config.resolve import make
from imbalance_study.evaluation import metrics
from imbalance_study.experiment import evaluate
from imbalance_study.experiment import run as experiment
from imbalance_study.experiment.analyses import attribution, saliency
from imbalance_study.experiment.analyses import (
    registry as analyses,
)
from imbalance_study.models.classifier import Classifier

# UMAP compiles for ten seconds in every process: .ci/run has it.
WITHOUT_UMAP = "+".join(sorted(analyses.names_in("all") - {"umap"}))
WANTED = [WITHOUT_UMAP, pytest.param("all", marks=pytest.mark.slow)]
CHEAP = "predictions+intervals+confusion+errors+curves+calibration+pca+gradcam"


def _coloured(generator, label):
    """Noise around a grey that tells the class."""
    middle = 40 + 150 * (label % 2)
    return np.clip(generator.normal(middle, 25, (16, 16, 3)), 0, 255).astype(np.uint8)


def _folders(root, train, test, draw=_coloured):
    """Image folders with so many images of each class."""
    generator = np.random.default_rng(0)
    for part, counts in (("train", train), ("test", test)):
        for label, count in enumerate(counts):
            folder = root / part / f"class {label:03d}"
            folder.mkdir(parents=True)
            for index in range(count):
                Image.fromarray(draw(generator, label)).save(folder / f"{index}.png")
    return root


def _run(folder, on_epoch=lambda result: None, **options):
    given = {
        "dataset": "imagefolder",
        "data_dir": str(folder / "images"),
        "cache_dir": str(folder / "cache"),
        "image_size": 16,
        "model": "resnet20",
        "augment": "none",
        "epochs": 1,
        "batch_size": 16,
        "validation": "none",
        "device": "cpu",
    }
    config = make(**given | options)
    return experiment.run(
        config, on_epoch, output_dir=folder / "out", show_progress=False, draw=False
    )


@pytest.fixture(scope="module", params=WANTED, ids=["without UMAP", "all"])
def two_classes(tmp_path_factory, request):
    """A run on two classes with every analysis."""
    folder = tmp_path_factory.mktemp("two")
    _folders(folder / "images", (20, 10), (12, 9))
    return _run(folder, analyses=request.param, epochs=2, validation="stratified:fraction=0.2")


def test_groups_and_names_can_be_joined():
    parts = {"quick_intervals", "per_class"}  # contained in intervals and confusion
    everything = frozenset(spec.functions(choices.ANALYSES)) - parts
    assert analyses.names_in("all") == everything
    assert analyses.names_in("none") == frozenset()
    assert everything - analyses.names_in("standard") == {"feature_maps", "occlusion", "deletion"}
    assert analyses.names_in("standard+occlusion+deletion+feature_maps") == everything
    assert analyses.names_in("gradcam+tsne") == {"gradcam", "tsne"}
    assert analyses.names_in("all+per_class") == everything | {"per_class"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gradcams", "unknown analyses 'gradcams'; known: none, standard, all"),
        ("none+pca", "analyses=none goes with nothing else"),
        ("gradcam:layer=3", "an analysis has no options"),
    ],
)
def test_an_unknown_analysis_is_refused_with_the_known_ones(text, message):
    with pytest.raises(ValueError, match=message):
        make(analyses=text)


@pytest.mark.parametrize(
    "options",
    [
        {"analyses": "pca", "colormap": "jet"},
        {"analyses": "none", "gradcam_layers": "all"},
        {"analyses": "occlusion", "gradcam_layers": "all"},
    ],
)
def test_options_of_pictures_that_are_not_drawn_are_refused(options):
    with pytest.raises(ValueError, match="has no effect with analyses"):
        make(**options)
    make(**options | {"analyses": "gradcam"})


def test_every_analysis_of_two_classes_is_there_and_none_failed(two_classes):
    found = two_classes.analysis
    assert found.notes == []
    assert set(found.figures) == {
        *("confusion_matrix", "recall_by_frequency", "misclassified", "most_confident_errors"),
        *("least_certain", "confused_pairs", "recall_over_epochs", "roc_pr", "calibration"),
        *("features", "gradcam_errors", "gradcam_correct", "feature_maps", "occlusion"),
        "deletion",
    }
    assert set(found.tables) == {
        *("per_class", "intervals", "confused_pairs", "most_confident_errors"),
        *("features_by_class", "explained_variance"),
    }
    assert set(found.figures) <= set(two_classes.figures)
    assert {name.partition("/")[0] for name in found.metrics} == {
        *("test_ci", "test_errors", "test_calibration", "test_features", "test_deletion"),
        *("cost", "time"),
    }
    assert all(np.isfinite(value) for value in found.metrics.values())


def test_the_prediction_columns_are_enough_to_recompute_the_metrics(two_classes):
    columns = two_classes.analysis.frames["predictions/test"]
    assert columns["index"].tolist() == two_classes.data.split.test.tolist()
    assert columns["file"][0].startswith("test/class 000/")
    probs = np.stack([columns["p_class 000"], columns["p_class 001"]], axis=1)
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(probs.argmax(1), columns["prediction"])
    right = columns["label"] == columns["prediction"]
    assert right.mean() == pytest.approx(two_classes.metrics["test/accuracy"])
    assert columns["class"][0] == "class 000"


def test_the_interval_holds_its_metric_and_is_that_of_the_table(two_classes):
    found = two_classes.analysis
    low, high = found.intervals["balanced_accuracy"]
    assert low <= two_classes.metrics["test/balanced_accuracy"] <= high
    assert two_classes.metrics["test_ci/balanced_accuracy_low"] == low
    table = found.tables["intervals"]
    row = table["metric"].index("macro_f1")
    assert table["value"][row] == pytest.approx(two_classes.metrics["test/macro_f1"])
    assert table["low_95"][row] == found.intervals["macro_f1"].low


def test_coordinates_name_the_images_they_belong_to(two_classes):
    columns = two_classes.analysis.frames["features/coordinates"]
    methods = ("pca", "tsne", *("umap",) * (two_classes.config.analyses == "all"))
    assert {len(columns[f"{method}_2"]) for method in methods} == {21}
    labels = two_classes.data.image_set.labels
    np.testing.assert_array_equal(labels[columns["index"]], columns["label"])


def test_costs_are_those_of_the_model(two_classes):
    found = two_classes.metrics
    assert found["cost/parameters"] == two_classes.facts.parameters
    assert found["cost/size_mb"] == pytest.approx(4 * found["cost/parameters"] / 1e6, rel=0.05)
    assert found["cost/macs"] > 1e6
    for size in (1, 128):
        assert 0 < found[f"cost/latency_ms_b{size}"] <= found[f"cost/latency_ms_b{size}_p95"]


def test_only_what_is_asked_for_runs(tmp_path):
    _folders(tmp_path / "images", (8, 4), (3, 3))
    found = _run(tmp_path, analyses="gradcam+tsne").analysis
    assert set(found.figures) == {"gradcam_errors", "gradcam_correct", "features"}
    columns = found.frames["features/coordinates"]
    assert "tsne_1" in columns
    assert "pca_1" not in columns
    nothing = _run(tmp_path, analyses="none").analysis
    assert not any(vars(nothing).values())


def test_an_analysis_that_fails_is_a_note_and_the_others_go_on(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text(
        "def broken(context):\n    raise RuntimeError('no paint left')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(choices.ANALYSES, "broken", Choice("a broken one", "broken:broken"))
    result = _run(_with_images(tmp_path), analyses="none")
    found = analyses.analyse(_context_of(result, "broken+confusion"))
    assert found.notes == ["broken failed: RuntimeError: no paint left"]
    assert "confusion_matrix" in found.figures


def _with_images(folder):
    _folders(folder / "images", (8, 6), (3, 3))
    return folder


def _context_of(result, wanted="none", **changes):
    context = evaluate.context_of(result.setup, result.stage, result.test)
    return dataclasses.replace(context, wanted=analyses.names_in(wanted), **changes)


def _grey(generator, label):
    return generator.integers(100, 130 + 60 * label, (16, 16)).astype(np.uint8)


def _one_pixel(generator, label):
    return np.full((1, 1, 3), 90 * label, np.uint8)


DEGENERATE = {
    "one test image in a class": ((10, 6, 4), (5, 1, 3), _coloured),
    "grey images": ((8, 6), (4, 3), _grey),
    "one-pixel images": ((6, 5), (2, 1), _one_pixel),
    "three test images": ((6, 5, 4), (1, 1, 1), _coloured),
}
SLOW = {"grey images", "one-pixel images", "three test images"}


@pytest.mark.parametrize(
    "wanted", [CHEAP, pytest.param("all", marks=pytest.mark.slow)], ids=["cheap", "all"]
)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in DEGENERATE],
)
def test_degenerate_sets_are_analysed_without_a_failure(name, wanted, tmp_path):
    train, test, draw = DEGENERATE[name]
    _folders(tmp_path / "images", train, test, draw)
    result = _run(tmp_path, analyses=wanted, lr=0.01)
    assert result.analysis.notes == []
    assert "features" in result.figures
    for figure in result.figures.values():
        figure.savefig(tmp_path / "figure.png")


def test_a_class_that_is_never_predicted_is_analysed(two_classes):
    logits = np.stack([np.ones(21), np.zeros(21)], axis=1).astype(np.float32)
    one_sided = two_classes.test._replace(logits=logits)
    found = analyses.analyse(_context_of(two_classes, CHEAP, test=one_sided))
    assert found.notes == []
    assert found.tables["per_class"]["precision"][1] == 0
    assert found.metrics["test_errors/count"] == 9


@pytest.mark.slow
def test_a_hundred_and_two_classes_of_few_images_are_analysed(tmp_path):
    _folders(tmp_path / "images", (3,) * 102, (2,) * 102)
    result = _run(tmp_path, analyses="all", image_size=32)
    assert result.analysis.notes == []
    for name, figure in result.figures.items():
        figure.savefig(tmp_path / f"{name}.png")
        assert max(figure.get_size_inches()) <= 24


def test_the_probabilities_that_occlusion_watches_are_those_of_the_loss(tmp_path):
    result = _run(_with_images(tmp_path), analyses="none", loss="ldam")
    context = _context_of(result)
    positions = np.arange(4)
    classes = context.predictions[positions]
    view = attribution.view_of(context)
    found = saliency.occlusion(view, context.images(positions), classes)
    np.testing.assert_allclose(found.whole, context.probs[positions, classes], atol=1e-4)
    np.testing.assert_allclose(
        view.probs(context.images(positions)), context.probs[positions], atol=1e-4
    )


def test_grad_cam_sees_through_a_frozen_backbone(tmp_path):
    result = _run(_with_images(tmp_path), analyses="gradcam+deletion", stage2="crt:epochs=1")
    assert result.analysis.notes == []
    context = _context_of(result)
    images, classes = context.images(np.arange(6)), np.tile([0, 1], (6, 1))
    layer = result.model.cam_layers[-1]
    maps = saliency.gradcam_maps(attribution.view_of(context), images, classes, layer)
    assert np.ptp(maps) > 0


def test_a_layer_without_maps_is_refused_before_the_training(tmp_path):
    epochs = []
    for layer in ("backbone.layer9", "classifier"):
        with pytest.raises(
            ValueError, match="gradcam_layers must name layers that give maps, joined by"
        ):
            _run(
                _with_images(tmp_path / layer),
                epochs.append,
                analyses="gradcam",
                gradcam_layers=layer,
            )
    assert epochs == []


def test_several_layers_have_a_figure_each(tmp_path):
    found = _run(_with_images(tmp_path), analyses="gradcam+feature_maps", gradcam_layers="all")
    layers = found.model.cam_layers
    assert len(layers) > 1
    for name in ("gradcam_errors", "gradcam_correct", "feature_maps"):
        assert sum(figure.startswith(name) for figure in found.figures) == len(layers)
        assert name in found.figures  # the deepest, for the image grid


@pytest.mark.parametrize(
    ("validation", "part"), [("none", "train"), ("stratified:fraction=0.3", "val")]
)
def test_the_same_images_are_looked_at_every_few_epochs_from_before_the_first(
    tmp_path, validation, part
):
    seen = []
    result = _run(
        _with_images(tmp_path),
        lambda epoch: seen.append((epoch.epoch, epoch.images)),
        analyses="none",
        validation=validation,
        epochs=3,
        figure_every=2,
    )
    assert [epoch for epoch, images in seen if images] == [0, 2]
    assert set(seen[0][1]) == {f"images/{part}_predictions", f"images/{part}_gradcam"}
    assert not any(epoch.images for epoch in result.history)
    first, later = (_pixels(seen[index][1][f"images/{part}_predictions"]) for index in (0, 2))
    assert len(first) == len(later) > 0
    known = result.data.train_images[result.data.train_rows]
    if part == "val":
        known = result.data.image_set.images[result.data.split.val]
    for one, other in zip(first, later, strict=True):
        np.testing.assert_array_equal(one, other)
        assert (known == one).all((1, 2, 3)).any()


def _pixels(figure):
    return [np.asarray(image.get_array()) for image in figure.axes[0].images]


def test_looking_while_training_changes_nothing_of_the_training(tmp_path):
    _with_images(tmp_path)
    results = [_run(tmp_path, analyses="none", figure_every=every) for every in (0, 1)]
    plain, watched = (result.test.logits for result in results)
    np.testing.assert_array_equal(plain, watched)


def test_recomputed_confusion_gives_the_metrics_of_the_run(two_classes):
    table = two_classes.analysis.tables["per_class"]
    recall = np.array(table["recall"])
    assert recall.mean() == pytest.approx(two_classes.metrics["test/balanced_accuracy"])
    counts = metrics.confusion_matrix(
        two_classes.test.targets, two_classes.test.logits.argmax(1), 2
    )
    assert sum(table["errors"]) == counts.sum() - np.trace(counts)


def test_a_model_without_maps_gets_notes_in_place_of_grad_cam(two_classes):
    model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), image_size=16).eval()
    wanted = "gradcam+feature_maps+deletion"
    found = analyses.analyse(_context_of(two_classes, wanted, model=model))
    assert found.notes == [
        "Grad-CAM left out: no layer of this model gives maps",
        "feature maps left out: no layer of this model gives maps",
    ]
    assert set(found.figures) == {"deletion"}
    assert "test_deletion/occlusion_salient" in found.metrics


def test_an_analysis_of_ones_own_runs_beside_the_others(tmp_path, monkeypatch):
    (tmp_path / "owncounts.py").write_text(
        "from imbalance_study.experiment.analyses.context import AnalysisResult\n\n\n"
        "def counts(context):\n"
        "    return AnalysisResult(metrics={'test/images': float(len(context.test.targets))})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    result = _run(_with_images(tmp_path), analyses="confusion+owncounts:counts")
    assert result.metrics["test/images"] == len(result.test.targets)
    assert "confusion_matrix" in result.figures
    with pytest.raises(ValueError, match="analysis 'owncounts:gone' cannot be imported"):
        _run(tmp_path, analyses="owncounts:gone")
