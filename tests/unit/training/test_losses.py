import functools
import json
import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from imbalance_study.config import choices, spec
from imbalance_study.training import losses

CLASS_WEIGHTS = spec.functions(choices.CLASS_WEIGHTS)
LOSSES = spec.functions(choices.LOSSES)

REFERENCE = json.loads((Path(__file__).parent / "reference_losses.json").read_text())
LOGITS = torch.tensor(REFERENCE["logits"], dtype=torch.float64)
TARGETS = torch.tensor(REFERENCE["targets"])
COUNTS = torch.tensor(REFERENCE["class_counts"], dtype=torch.float64)
EVERY_LOSS = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)

REDUCTIONS = {
    "sum(l)/N": lambda values, weights: values.mean(),
    "sum(w*l)/N": lambda values, weights: (weights * values).mean(),
    "sum(w*l)/sum(w)": lambda values, weights: (weights * values).sum() / weights.sum(),
}

LOG2, LOG3, LOG6 = math.log(2), math.log(3), math.log(6)

# Spec, logits and class counts chosen so that the probabilities are simple fractions; for each
# class as the target, the value worked out by hand.
BY_HAND = [
    ("cross_entropy", [LOG3, 0], [1, 1], [math.log(4 / 3), math.log(4)]),
    (
        "cross_entropy:label_smoothing=0.2",
        [LOG3, 0],
        [1, 1],
        [0.9 * math.log(4 / 3) + 0.1 * math.log(4), 0.1 * math.log(4 / 3) + 0.9 * math.log(4)],
    ),
    ("focal:gamma=2", [LOG3, 0], [1, 1], [math.log(4 / 3) / 16, math.log(4) * 9 / 16]),
    ("focal:gamma=0.5", [LOG3, 0], [1, 1], [math.log(4 / 3) / 2, math.log(4) * 0.75**0.5]),
    ("sigmoid", [LOG3, 0], [1, 1], [math.log(4 / 3) + LOG2, math.log(4) + LOG2]),
    (
        "sigmoid_focal:gamma=2",
        [LOG3, 0],
        [1, 1],
        [math.log(4 / 3) / 16 + LOG2 / 4, math.log(4) * 9 / 16 + LOG2 / 4],
    ),
    (
        "ldam:max_m=0.5,s=2",  # margins 1/4 and 1/2
        [1, 0],
        [16, 1],
        [math.log1p(math.exp(-1.5)), math.log1p(math.exp(3))],
    ),
    ("balanced_softmax", [0, LOG3], [9, 1], [math.log(4 / 3), math.log(4)]),
    ("logit_adjusted:tau=2", [0, 0], [3, 1], [math.log(10 / 9), math.log(10)]),
    ("vs:gamma=0.5,tau=1", [0, 2 * LOG6], [4, 1], [math.log(10 / 4), math.log(10 / 6)]),
    (
        "label_aware_smoothing:smooth_head=0.4,smooth_tail=0.0,shape=linear",
        [LOG2, 0, 0],  # probabilities 1/2, 1/4, 1/4; smoothing 0.4, 0.2, 0
        [5, 3, 1],
        [1.4 * LOG2, 1.6 * LOG2 + 0.1 * 3 * LOG2, 2 * LOG2],
    ),
]


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=lambda c: f"{c['loss']} {c['reduction']}")
def test_a_loss_gives_the_reference_value(case):
    logits = (LOGITS / 8).clip(-1, 1) if case["cosines"] else LOGITS
    values = spec.bind(choices.LOSSES, case["loss"], "loss")(logits, TARGETS, COUNTS)
    weights = spec.bind(choices.CLASS_WEIGHTS, case["class_weights"], "class_weights")(COUNTS)
    reduced = REDUCTIONS[case["reduction"]](values, weights[TARGETS])
    assert reduced.item() == pytest.approx(case["value"], abs=1e-5)


def test_the_margins_of_ldam_are_the_reference_values():
    expected = torch.tensor(REFERENCE["ldam_margins"]["margins"], dtype=torch.float64)
    margins = losses.ldam_margins(COUNTS, REFERENCE["ldam_margins"]["max_m"])
    torch.testing.assert_close(margins, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("text", "logits", "counts", "expected"), BY_HAND)
def test_a_loss_gives_the_value_worked_out_by_hand(text, logits, counts, expected):
    loss = spec.bind(choices.LOSSES, text, "loss")
    rows = torch.tensor([logits] * len(logits), dtype=torch.float64)
    values = loss(rows, torch.arange(len(logits)), torch.tensor(counts))
    assert values.tolist() == pytest.approx(expected, rel=1e-12)


def test_every_loss_has_a_value_worked_out_by_hand():
    assert {spec.parse(text).name for text, *_ in BY_HAND} == set(LOSSES)


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("focal:gamma=0", "cross_entropy"),
        ("sigmoid_focal:gamma=0", "sigmoid"),
        ("logit_adjusted:tau=1", "balanced_softmax"),
        ("logit_adjusted:tau=0", "cross_entropy"),
        ("vs:gamma=0,tau=0", "cross_entropy"),
        ("vs:gamma=0,tau=1.5", "logit_adjusted:tau=1.5"),
        ("ldam:max_m=0,s=1", "cross_entropy"),
        ("label_aware_smoothing:smooth_head=0,smooth_tail=0", "cross_entropy"),
        # a tenth of the smoothing falls on the true class itself in the usual definition
        (
            "label_aware_smoothing:smooth_head=0.18,smooth_tail=0.18",
            "cross_entropy:label_smoothing=0.2",
        ),
    ],
)
def test_two_losses_are_the_same_at_neutral_options(text, same_as):
    values = spec.bind(choices.LOSSES, text, "loss")(LOGITS, TARGETS, COUNTS)
    expected = spec.bind(choices.LOSSES, same_as, "loss")(LOGITS, TARGETS, COUNTS)
    torch.testing.assert_close(values, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("text", ["balanced_softmax", "logit_adjusted:tau=3", "vs"])
def test_a_correcting_loss_is_cross_entropy_when_classes_are_equal(text):
    values = spec.bind(choices.LOSSES, text, "loss")(LOGITS, TARGETS, torch.full((10,), 37.0))
    torch.testing.assert_close(values, F.cross_entropy(LOGITS, TARGETS, reduction="none"))


def test_ldam_with_equal_classes_has_the_largest_margin_everywhere():
    values = losses.ldam(LOGITS / 8, TARGETS, torch.full((10,), 37.0), max_m=0.5, s=30.0)
    shifted = LOGITS / 8 - 0.5 * F.one_hot(TARGETS, 10)
    torch.testing.assert_close(values, F.cross_entropy(30 * shifted, TARGETS, reduction="none"))


@EVERY_LOSS
def test_a_loss_gives_one_value_per_example_whatever_the_others_are(loss):
    values = loss(LOGITS, TARGETS, COUNTS)
    assert values.shape == (40,)
    alone = torch.cat([loss(LOGITS[i : i + 1], TARGETS[i : i + 1], COUNTS) for i in range(40)])
    torch.testing.assert_close(values, alone)


@EVERY_LOSS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_loss_is_finite_at_extreme_logits(loss, dtype):
    high, low = torch.full((4,), 1e4), torch.full((4,), -1e4)
    for row in (high, low, torch.stack([high, low]).T.flatten()[:4]):
        for target in range(4):
            logits = row[None].to(dtype).requires_grad_()
            value = loss(logits, torch.tensor([target]), torch.tensor([1000.0, 100, 10, 1]))
            value.sum().backward()
            assert value.isfinite().all()
            assert logits.grad.isfinite().all()
            assert value >= -1e-6


@EVERY_LOSS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_loss_computes_in_float32_from_lower_precisions(loss, dtype):
    logits = LOGITS.to(dtype)
    values = loss(logits, TARGETS, COUNTS.float())
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, loss(logits.float(), TARGETS, COUNTS.float()))
    torch.testing.assert_close(
        values.double(), loss(logits.double(), TARGETS, COUNTS), rtol=1e-4, atol=1e-4
    )


@EVERY_LOSS
def test_the_gradient_of_a_loss_is_its_derivative(loss):
    logits = LOGITS[:6].clone().requires_grad_()
    torch.autograd.gradcheck(lambda z: loss(z, TARGETS[:6], COUNTS), (logits,))


@EVERY_LOSS
def test_a_step_against_the_gradient_lowers_a_loss(loss):
    logits = LOGITS.clone().requires_grad_()
    before = loss(logits, TARGETS, COUNTS)
    (gradient,) = torch.autograd.grad(before.sum(), logits)
    after = loss(logits - 1e-4 * gradient, TARGETS, COUNTS)
    assert (after < before).all()


@EVERY_LOSS
def test_a_loss_does_not_depend_on_the_scale_of_the_class_counts(loss):
    torch.testing.assert_close(
        loss(LOGITS, TARGETS, COUNTS), loss(LOGITS, TARGETS, COUNTS.long() * 7)
    )


@pytest.mark.parametrize("name", ["ldam", "balanced_softmax", "logit_adjusted", "vs"])
def test_a_loss_that_sees_the_class_counts_asks_more_of_rarer_classes(name):
    logits, counts = torch.zeros(3, 3), torch.tensor([100, 10, 1])
    values = LOSSES[name](logits, torch.arange(3), counts)
    assert values[0] < values[1] < values[2]


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("margin", [-300.0, -20.0, 17.0, 20.0, 300.0])
def test_the_gradient_of_focal_is_finite_and_right_as_p_goes_to_0_and_1(gamma, margin):
    logits = torch.tensor([[margin, 0.0]], requires_grad=True)
    losses.focal(logits, torch.tensor([0]), torch.ones(2), gamma=gamma).sum().backward()
    # d/dz of -(1 - p)^g log p is (1 - p)^g (g p log p - (1 - p)), with p = 1 / (1 + e^-z)
    log_p = -math.log1p(math.exp(-margin)) if margin > -40 else margin
    p, rest = math.exp(log_p), 1 / (1 + math.exp(margin))
    expected = rest**gamma * (gamma * p * log_p - rest)
    assert logits.grad[0, 0].item() == pytest.approx(expected, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize(
    ("shape", "middle"),
    [
        ("linear", 0.2),
        ("concave", 0.1 + 0.2 * math.sin(math.pi / 4)),
        ("convex", 0.3 + 0.2 * math.sin(3 * math.pi / 2 + math.pi / 4)),
    ],
)
def test_label_aware_smoothing_rises_with_the_count_from_tail_to_head(shape, middle):
    counts = torch.tensor([9.0, 5.0, 1.0], dtype=torch.float64)
    found = losses.class_smoothing(counts, 0.3, 0.1, shape)
    assert found.tolist() == pytest.approx([0.3, middle, 0.1])


def test_label_aware_smoothing_of_equal_classes_is_that_of_the_head():
    found = losses.class_smoothing(torch.full((3,), 5.0), 0.3, 0.1)
    assert found.tolist() == pytest.approx([0.3, 0.3, 0.3])


def test_probabilities_are_a_softmax_with_the_scale_of_ldam_or_normalised_sigmoids():
    logits = torch.tensor([[LOG3, 0.0]])
    assert losses.probabilities(logits, "focal").tolist() == [pytest.approx([0.75, 0.25])]
    assert losses.probabilities(logits, "mine:loss").tolist() == [pytest.approx([0.75, 0.25])]
    ldam = losses.probabilities(logits, "ldam", s=2.0)
    assert ldam.tolist() == [pytest.approx([0.9, 0.1])]
    # sigmoids 3/4 and 1/2
    assert losses.probabilities(logits, "sigmoid").tolist() == [pytest.approx([0.6, 0.4])]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("value", [1e4, -1e4])
def test_probabilities_sum_to_one_at_extreme_logits(name, value):
    logits = torch.tensor([[value, value, -1e4]], dtype=torch.bfloat16)
    probs = losses.probabilities(logits, name)
    assert probs.dtype == torch.float32
    torch.testing.assert_close(probs.sum(1), torch.ones(1))
    assert probs[0, 0] == probs[0, 1]


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            functools.partial(losses.cross_entropy, label_smoothing=1.0),
            "label_smoothing must be in [0, 1), got 1",
        ),
        (
            functools.partial(losses.focal, gamma=-0.5),
            "gamma must be at least 0 and finite, got -0.5",
        ),
        (
            functools.partial(losses.sigmoid_focal, gamma=-1),
            "gamma must be at least 0 and finite, got -1",
        ),
        (functools.partial(losses.ldam, s=0), "s must be larger than 0 and finite, got 0"),
        (
            functools.partial(losses.ldam, max_m=-0.1),
            "max_m must be at least 0 and finite, got -0.1",
        ),
        (functools.partial(losses.logit_adjusted, tau=math.nan), "tau must be finite, got nan"),
        (functools.partial(losses.vs, tau=math.inf), "tau must be finite, got inf"),
        (functools.partial(losses.vs, gamma=-1), "gamma must be at least 0 and finite, got -1"),
        (
            functools.partial(losses.label_aware_smoothing, smooth_tail=-0.1),
            "smooth_tail must be in [0, 1), got -0.1",
        ),
        (
            functools.partial(losses.label_aware_smoothing, smooth_head=0.1, smooth_tail=0.2),
            "smooth_head must be in [smooth_tail, 1), got 0.1",
        ),
    ],
)
def test_a_option_of_a_loss_out_of_range_is_refused_with_rule_and_value(loss, message):
    with pytest.raises(ValueError) as caught:
        loss(LOGITS, TARGETS, COUNTS)
    assert str(caught.value) == message


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@EVERY_LOSS
def test_a_loss_does_not_wait_for_the_gpu(loss):
    logits = LOGITS.float().cuda().requires_grad_()
    targets, counts = TARGETS.cuda(), COUNTS.float().cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss(logits, targets, counts).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = loss(LOGITS.float(), TARGETS, COUNTS.float())
    torch.testing.assert_close(loss(logits, targets, counts).cpu(), expected)


def test_a_class_without_training_images_is_named():
    counts = torch.tensor([5, 3, 2, 0])
    with pytest.raises(ValueError, match=r"class 3 has no training images; .* 5 3 2 0"):
        losses.check_class_counts(counts)
    with pytest.raises(ValueError, match=r"class 3 \(deer\) has no training images"):
        losses.check_class_counts(counts, ["cat", "dog", "frog", "deer"])
    losses.check_class_counts(counts + 1)
