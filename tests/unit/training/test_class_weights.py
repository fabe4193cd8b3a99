import json
import math
from pathlib import Path

import pytest
import torch

from imbalance_study.config import choices, spec
from imbalance_study.training import class_weights

CLASS_WEIGHTS = spec.functions(choices.CLASS_WEIGHTS)

REFERENCE = json.loads((Path(__file__).parent / "reference_losses.json").read_text())
COUNTS = torch.tensor(REFERENCE["class_counts"], dtype=torch.float64)


@pytest.mark.parametrize(("text", "expected"), REFERENCE["class_weights"].items())
def test_class_weights_are_the_reference_values_scaled_to_a_sum_of_c(text, expected):
    weights = spec.bind(choices.CLASS_WEIGHTS, text, "class_weights")(COUNTS)
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(weights, expected * 10 / expected.sum(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("weighting", CLASS_WEIGHTS.values(), ids=CLASS_WEIGHTS)
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.float64])
def test_class_weights_sum_to_the_number_of_classes_and_never_favour_the_larger(weighting, dtype):
    weights = weighting(COUNTS.to(dtype))
    assert weights.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert weights.sum().item() == pytest.approx(10)
    assert (weights.diff() >= 0).all()


def test_class_weights_worked_out_by_hand():
    counts = torch.tensor([4, 1])
    assert class_weights.no_weights(counts).tolist() == [1, 1]
    assert class_weights.balanced_weights(counts).tolist() == pytest.approx([0.4, 1.6])
    assert class_weights.inverse_sqrt_weights(counts).tolist() == pytest.approx([2 / 3, 4 / 3])
    # 1 - 0.5^n is 15/16 and 1/2
    expected = [2 * 8 / 23, 2 * 15 / 23]
    assert class_weights.effective_weights(counts, beta=0.5).tolist() == pytest.approx(expected)


def test_effective_weights_go_from_none_to_balanced_with_beta():
    ones = class_weights.effective_weights(COUNTS, beta=0.0)
    torch.testing.assert_close(ones, torch.ones(10).double())
    near_one = class_weights.effective_weights(COUNTS.float(), beta=1 - 1e-12)
    torch.testing.assert_close(near_one, class_weights.balanced_weights(COUNTS.float()))


@pytest.mark.parametrize(("beta", "ratio"), [(0.99, 2.5), (0.999, 20), (0.9999, 79)])
def test_effective_weights_differ_by_a_factor_that_log_one_minus_beta_sets(beta, ratio):
    weights = class_weights.effective_weights(COUNTS, beta=beta)
    assert (weights[-1] / weights[0]).item() == pytest.approx(ratio, rel=0.02)


@pytest.mark.parametrize("beta", [1.0, -0.1, math.nan])
def test_beta_outside_its_range_is_refused(beta):
    with pytest.raises(ValueError, match=r"beta must be in \[0, 1\), got"):
        class_weights.effective_weights(COUNTS, beta=beta)
