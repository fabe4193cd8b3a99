import numpy as np
import pytest
from figure_checks import FEW_CLASSES

from imbalance_study.evaluation import posthoc
from imbalance_study.evaluation.calibration import reliability
from imbalance_study.evaluation.figures.calibration import accuracy_over_tau, calibration


@pytest.mark.parametrize("count", FEW_CLASSES)
def test_calibration_shows_reliability_confidence_and_coverage(count, saved):
    generator = np.random.default_rng(0)
    probs = generator.dirichlet(np.full(count, 0.3), size=400)
    targets = np.where(generator.random(400) < 0.6, probs.argmax(1), 0)
    figure = calibration(targets, probs)
    bars, histogram, coverage, boxes = figure.axes
    bins = reliability(probs.max(1), probs.argmax(1) == targets)
    heights = [bar.get_height() for bar in bars.containers[0]]
    np.testing.assert_allclose(heights, np.nan_to_num(bins.accuracy))
    too_sure, unsure = (
        np.array([bar.get_height() for bar in container]) for container in bars.containers[1:]
    )
    np.testing.assert_allclose(too_sure - unsure, np.nan_to_num(bins.confidence - bins.accuracy))
    assert not (too_sure * unsure).any()
    right = int((probs.argmax(1) == targets).sum())
    labels = [text.get_text() for text in histogram.get_legend().get_texts()]
    assert labels == [f"right ({right})", f"wrong ({400 - right})"]
    assert coverage.get_lines()[0].get_ydata()[-1] == pytest.approx(right / 400)
    names = [label.get_text().split("\n")[0] for label in boxes.get_yticklabels()]
    assert names == ["right", "wrong"]
    saved(figure)


@pytest.mark.parametrize("label", [0, 1])
def test_calibration_of_a_single_sure_prediction_is_drawn(label, saved):
    figure = calibration(np.array([label]), np.array([[1.0, 0.0]]))
    assert len(figure.axes[3].get_yticklabels()) == 1
    saved(figure)


@pytest.mark.parametrize("names", [["logit adjustment"], ["logit adjustment", "tau-norm"]])
def test_accuracy_over_tau_marks_what_was_chosen(names, saved):
    taus, errors = np.array([0.0, 1.0, 2.0]), np.array([0.02, 0.01, 0.03])
    search = posthoc.TauSearch(taus, np.array([0.3, 0.5, 0.4]), errors, 1.0)
    figure = accuracy_over_tau(dict.fromkeys(names, search))
    curve, chosen = figure.axes[0].get_lines()[:2]
    assert curve.get_ydata().tolist() == [0.3, 0.5, 0.4]
    assert (chosen.get_xdata()[0], chosen.get_ydata()[0]) == (1.0, 0.5)
    band = figure.axes[0].collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == pytest.approx((0.28, 0.51))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[0] == "logit adjustment, validation: 0.500 ± 0.010 at 1"
    assert len(labels) == len(names)
    saved(figure)


def test_accuracy_over_tau_shows_the_test_set_at_the_tau_of_validation(saved):
    taus, test = np.array([0.0, 1.0, 2.0]), np.array([0.1, 0.2, 0.6])
    search = posthoc.TauSearch(taus, np.array([0.3, 0.5, 0.4]), np.zeros(3), 1.0)
    figure = accuracy_over_tau({"tau-norm": search}, {"tau-norm": test})
    curve = figure.axes[0].get_lines()[-1]
    assert curve.get_ydata().tolist() == test.tolist()
    assert curve.get_linestyle() == "--"
    assert figure.legends[0].get_texts()[-1].get_text() == "tau-norm, test: 0.200 there"
    saved(figure)
