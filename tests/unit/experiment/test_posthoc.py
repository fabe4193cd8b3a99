import copy
import dataclasses

import numpy as np
import pytest
import torch

from imbalance_study.config import resolve
from imbalance_study.evaluation import calibration, metrics, posthoc
from imbalance_study.experiment import posthoc as corrections
from imbalance_study.experiment import run as experiment
from imbalance_study.experiment.result import TrainedStage
from imbalance_study.experiment.setup import procedures
from imbalance_study.experiment.setup.components import bind
from imbalance_study.experiment.setup.data import batches_of
from imbalance_study.training import losses
from imbalance_study.training.predict import Predictions, predict

COUNTS = np.array([500, 300, 180, 110, 65, 40, 24, 14, 9, 5])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run on digits, trained with nothing that corrects, and with mirrored images."""
    config = resolve.make(
        dataset="digits",
        model="small_nets:conv",
        image_size=8,
        epochs=1,
        batch_size=16,
        augment="crop:padding=2+flip",
        analyses="none",
    )
    folder = tmp_path_factory.mktemp("run")
    return experiment.run(config, output_dir=folder, show_progress=False)


@pytest.fixture(scope="module")
def images(finished):
    """The test set in batches."""
    return batches_of(finished.data, "test", finished.config, finished.setup.device_setup.device)


@pytest.fixture(scope="module")
def val(finished):
    """What the kept weights predict for validation."""
    part = batches_of(finished.data, "val", finished.config, finished.setup.device_setup.device)
    return predict(finished.model, part, finished.procedure.normalise, features=True)


@pytest.fixture
def correct(finished, images):
    """A function that corrects predictions as those of the run, with changed options or parts."""

    def call(val, test, *, model=finished.model, procedure=finished.procedure, **options):
        options.setdefault("augment", "none")
        config = dataclasses.replace(finished.config, **options)
        inputs = dataclasses.replace(
            finished.setup,
            config=config,
            choices=bind(config),
            data=finished.data._replace(class_counts=COUNTS),
        )
        stage = TrainedStage(model, procedure, finished.fit)
        return corrections.correct(inputs, stage, images, val, test)

    return call


def seen(size, seed, *, scale=1.0, prior=COUNTS):
    """Logits of an ideal model that learnt under a prior, for images of equally many a class."""
    generator = np.random.default_rng(seed)
    targets = np.arange(size) % 10
    logits = 2 * (generator.normal(size=(size, 10)) + 2 * np.eye(10)[targets])
    logits = scale * (logits + np.log(prior / prior.sum()))
    return Predictions(logits.astype(np.float32), np.empty((size, 0), "f4"), targets)


def score(logits, targets):
    return metrics.quick_metrics(targets, logits.argmax(1), 10)["balanced_accuracy"]


def optimum(found):
    return score(found.logits - np.log(COUNTS), found.targets)


def names(found):
    """The corrections that were made."""
    return found.tables["posthoc"]["correction"]


def row(found, name):
    table = found.tables["posthoc"]
    return {column: values[names(found).index(name)] for column, values in table.items()}


def choices(found):
    return dict(zip(names(found), found.tables["posthoc"]["chosen"], strict=True))


def test_a_finished_run_gets_all_of_them_beside_the_plain_result(finished, images, val):
    found = corrections.correct(finished.setup, finished.stage, images, val, finished.test)
    assert set(found.metrics) == {
        *(f"posthoc/logit_adjustment_{name}" for name in ("tau", "balanced_accuracy", "accuracy")),
        *(f"posthoc/tau_norm_{name}" for name in ("tau", "balanced_accuracy", "accuracy")),
        *(f"posthoc/thresholds_{name}" for name in ("balanced_accuracy", "accuracy")),
        *(f"posthoc/temperature{name}" for name in ("", "_loss", "_ece")),
        *(f"posthoc/flip_{name}" for name in ("balanced_accuracy", "accuracy")),
    }
    assert all(np.isfinite(value) for value in found.metrics.values())
    plain = row(found, "plain")
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "loss"):
        assert plain[name] == pytest.approx(finished.metrics[f"test/{name}"], rel=1e-6), name
    for name in ("balanced_accuracy", "balanced_accuracy_standard_error"):
        own = {"balanced_accuracy": "val_balanced_accuracy"}.get(name, "val_standard_error")
        assert plain[own] == pytest.approx(finished.metrics[f"selected_val/{name}"]), name
    for name in ("logit_adjustment", "tau_norm", "thresholds"):
        assert row(found, name)["val_balanced_accuracy"] >= plain["val_balanced_accuracy"]
    assert list(found.figures) == ["posthoc_tau"]
    assert found.metrics.items() <= finished.metrics.items()
    assert "posthoc_tau" in finished.figures
    assert finished.tables["posthoc"]["correction"] == names(found)


def test_a_known_prior_is_undone_and_balanced_accuracy_rises_to_the_optimum(correct):
    val, test = seen(10_000, seed=0), seen(10_000, seed=1)
    found = correct(val, test)
    best = optimum(test)
    assert row(found, "plain")["balanced_accuracy"] < best - 0.08
    assert found.metrics["posthoc/logit_adjustment_tau"] == pytest.approx(1, abs=0.3)
    assert found.metrics["posthoc/logit_adjustment_balanced_accuracy"] == pytest.approx(
        best, abs=0.01
    )
    assert found.metrics["posthoc/thresholds_balanced_accuracy"] == pytest.approx(best, abs=0.02)


def test_without_validation_the_prior_is_taken_off_as_it_is(correct):
    test = seen(3_000, seed=1)
    found = correct(None, test, validation="none")
    assert names(found) == ["plain", "tau1"]
    assert set(found.metrics) == {"posthoc/tau1_balanced_accuracy", "posthoc/tau1_accuracy"}
    assert found.metrics["posthoc/tau1_balanced_accuracy"] == pytest.approx(optimum(test))
    assert np.isnan(row(found, "tau1")["val_balanced_accuracy"])
    assert found.figures == {}


def test_validation_alone_chooses(correct):
    val, test = seen(400, seed=0, scale=3.0), seen(400, seed=1)
    shuffled = test._replace(targets=np.random.default_rng(0).permutation(test.targets))
    found, other = correct(val, test), correct(val, shuffled)
    assert choices(found) == choices(other) == choices(correct(val, seen(90, seed=5)))
    for name in ("logit_adjustment_tau", "tau_norm_tau", "temperature"):
        assert found.metrics[f"posthoc/{name}"] == other.metrics[f"posthoc/{name}"]
    assert found.metrics["posthoc/logit_adjustment_balanced_accuracy"] > 0.5
    assert other.metrics["posthoc/logit_adjustment_balanced_accuracy"] < 0.2
    moved = correct(val._replace(targets=np.roll(val.targets, 3)), test)
    for name in ("logit_adjustment", "thresholds", "temperature"):
        assert choices(found)[name] != choices(moved)[name], name


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "balanced_softmax"},
        {"class_weights": "effective"},
        {"sampler": "class_balanced"},
        {"resample": "smote"},
        {"stage2": "crt"},
    ],
)
def test_what_was_corrected_in_training_is_not_corrected_again(options, correct):
    test = seen(100, seed=1)
    found = correct(seen(100, seed=0), test, **options)
    assert names(found) == ["plain", "temperature"]
    assert found.figures == {}
    assert names(correct(None, test, validation="none", **options)) == ["plain"]


@pytest.mark.parametrize(
    "options", [{"loss": "focal"}, {"label_smoothing": 0.1}, {"mix": "mixup"}, {"supcon": 0.1}]
)
def test_focusing_smoothing_and_mixing_count_as_no_correction(options, correct):
    found = correct(seen(100, seed=0), seen(100, seed=1), **options)
    assert names(found)[1:4] == ["logit_adjustment", "tau_norm", "thresholds"]


def test_tau_norm_takes_the_lengths_of_the_head_out_of_the_logits(correct, finished):
    model, lengths = copy.deepcopy(finished.model), np.geomspace(3, 0.5, 10)
    head = model.get_classifier()
    with torch.no_grad():
        unit = torch.nn.functional.normalize(head.weight, dim=1)
        head.weight.copy_(unit * torch.from_numpy(lengths)[:, None])
    val, test = (seen(3_000, seed, prior=np.ones(10)) for seed in (0, 1))
    stretched = [part._replace(logits=(part.logits + 10) * lengths) for part in (val, test)]
    found = correct(*stretched, model=model)
    assert found.metrics["posthoc/tau_norm_tau"] == pytest.approx(1, abs=0.3)
    balanced_accuracy = found.metrics["posthoc/tau_norm_balanced_accuracy"]
    assert balanced_accuracy == pytest.approx(score(test.logits, test.targets), abs=0.02)
    assert row(found, "plain")["balanced_accuracy"] < balanced_accuracy - 0.1


@pytest.mark.parametrize(
    ("loss", "head", "made", "scale"),
    [
        ("sigmoid", "linear", lambda logits: logits - 3, {}),
        ("ldam:s=20", "cosine", lambda logits: (logits / 20).clip(-1, 1), {"s": 20.0}),
    ],
)
def test_sigmoids_and_cosines_are_corrected_as_what_the_softmax_sees(
    loss, head, made, scale, correct, finished
):
    config = resolve.make(dataset="digits", model="resnet20", loss=loss)
    probabilities = procedures.probabilities(bind(config).loss)
    procedure = dataclasses.replace(finished.procedure, probabilities=probabilities)
    part = seen(800, seed=2)
    part = part._replace(logits=made(part.logits))
    model = copy.deepcopy(finished.model)
    model.reset_classifier(10, head)
    found = correct(part, part, model=model, procedure=procedure, loss=loss)
    assert names(found) == ["plain", "logit_adjustment", "thresholds", "temperature"]
    logits = torch.from_numpy(part.logits).double()
    logits = losses.softmax_logits(logits, loss.split(":")[0], **scale).numpy()
    tau, log_prior = found.metrics["posthoc/logit_adjustment_tau"], np.log(COUNTS)
    balanced_accuracy = found.metrics["posthoc/logit_adjustment_balanced_accuracy"]
    assert balanced_accuracy == score(logits - tau * log_prior, part.targets)
    assert balanced_accuracy != score(part.logits - tau * log_prior, part.targets)
    temperature = posthoc.fit_temperature(logits, part.targets)
    assert found.metrics["posthoc/temperature"] == pytest.approx(temperature)


def test_temperature_mends_the_loss_of_an_overconfident_model(correct):
    val, test = (seen(3_000, seed, scale=4.0, prior=np.ones(10)) for seed in (0, 1))
    found = correct(val, test, class_weights="balanced")
    assert found.metrics["posthoc/temperature"] == pytest.approx(4, rel=0.1)
    plain = row(found, "plain")
    assert found.metrics["posthoc/temperature_loss"] < plain["loss"] - 0.1
    assert found.metrics["posthoc/temperature_ece"] < 0.03 < plain["ece"]
    probs = posthoc.softmax(test.logits / found.metrics["posthoc/temperature"])
    ece = calibration.expected_calibration_error(test.targets, probs)
    assert found.metrics["posthoc/temperature_ece"] == pytest.approx(ece, abs=1e-6)


def test_flipping_averages_the_probabilities_of_an_image_and_its_mirror_image(
    correct, finished, images
):
    raw = images.read(np.arange(len(images)))
    both = []
    for pixels in (raw, raw[:, :, ::-1]):
        batch = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2)
        with torch.inference_mode():
            logits = finished.model(finished.procedure.normalise(batch))
        both.append(logits.softmax(1).numpy())
    assert np.abs(both[0] - both[1]).max() > 0.01
    mean = (both[0] + both[1]) / 2
    found = correct(None, finished.test, validation="none", augment="flip+crop")
    scores = metrics.quick_metrics(finished.test.targets, mean.argmax(1), 10)
    assert row(found, "flip") | scores == row(found, "flip")
    loss = calibration.negative_log_likelihood(finished.test.targets, mean)
    assert row(found, "flip")["loss"] == pytest.approx(loss, rel=1e-4)
    assert not finished.model.training


def test_images_are_not_flipped_where_the_training_did_not(correct, finished):
    for augment in ("none", "crop:padding=2+rotate90"):
        found = correct(None, finished.test, validation="none", augment=augment)
        assert "flip" not in names(found)
        assert not any("flip" in name for name in found.metrics)
