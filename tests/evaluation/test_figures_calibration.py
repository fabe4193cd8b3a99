import numpy as np
import pytest

from imbalance_study.evaluation import calibration, figures_calibration, posthoc


@pytest.mark.parametrize("count", [2, 102])
def test_calibration_shows_reliability_confidence_and_coverage(count, saved):
    generator = np.random.default_rng(0)
    probs = generator.dirichlet(np.full(count, 0.3), size=400)
    targets = np.where(generator.random(400) < 0.6, probs.argmax(1), 0)
    figure = figures_calibration.calibration(targets, probs)
    reliability, histogram, coverage, boxes = figure.axes
    bins = calibration.reliability(probs.max(1), probs.argmax(1) == targets)
    heights = [bar.get_height() for bar in reliability.containers[0]]
    np.testing.assert_allclose(heights, np.nan_to_num(bins.accuracy))
    tops = [bar.get_y() + bar.get_height() for bar in reliability.containers[1]]
    np.testing.assert_allclose(tops, np.nan_to_num(bins.confidence))
    right = int((probs.argmax(1) == targets).sum())
    labels = [text.get_text() for text in histogram.get_legend().get_texts()]
    assert labels == [f"right ({right})", f"wrong ({400 - right})"]
    assert coverage.get_lines()[0].get_ydata()[-1] == pytest.approx(right / 400)
    names = [label.get_text().split("\n")[0] for label in boxes.get_yticklabels()]
    assert names == ["right", "wrong"]
    saved(figure)


@pytest.mark.parametrize("label", [0, 1])
def test_calibration_of_a_single_sure_prediction_is_drawn(label, saved):
    figure = figures_calibration.calibration(np.array([label]), np.array([[1.0, 0.0]]))
    assert len(figure.axes[3].get_yticklabels()) == 1
    saved(figure)


def test_accuracy_over_tau_marks_what_was_chosen(saved):
    taus = np.array([0.0, 1.0, 2.0])
    search = posthoc.TauSearch(taus, np.array([0.3, 0.5, 0.4]), 1.0)
    figure = figures_calibration.accuracy_over_tau({"logit adjustment": search, "tau-norm": search})
    curve, chosen = figure.axes[0].get_lines()[:2]
    assert curve.get_ydata().tolist() == [0.3, 0.5, 0.4]
    assert (chosen.get_xdata()[0], chosen.get_ydata()[0]) == (1.0, 0.5)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels[0] == "logit adjustment: 0.500 at 1"
    saved(figure)
