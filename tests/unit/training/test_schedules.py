import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_study.config import choices, spec
from imbalance_study.training import schedules
from imbalance_study.training.schedules import learning_rate, should_stop

SCHEDULES = spec.functions(choices.SCHEDULES)

HISTORIES = st.lists(st.floats(0, 1) | st.sampled_from([0.25, 0.5, 0.5001, math.nan]), max_size=40)
EVERY_SCHEDULE = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


def _bind(text):
    return spec.bind(choices.SCHEDULES, text, "schedule")


@pytest.mark.parametrize(
    ("text", "epoch", "epochs", "expected"),
    [
        ("constant", 0, 10, 1.0),
        ("constant", 9.9, 10, 1.0),
        ("cosine", 0, 10, 1.0),
        ("cosine", 2.5, 10, (1 + math.sqrt(0.5)) / 2),
        ("cosine", 5, 10, 0.5),
        ("cosine", 10, 10, 0.0),
        ("cosine:floor=0.2", 5, 10, 0.6),
        ("cosine:floor=0.2", 10, 10, 0.2),
        ("cosine:warmup=2", 1, 10, 0.5),
        ("cosine:warmup=2", 2, 10, 1.0),
        ("cosine:warmup=2", 6, 10, 0.5),
        ("cosine:warmup=2", 10, 10, 0.0),
        ("cosine_restarts", 0.5, 7, 0.5),
        ("cosine_restarts", 1, 7, 1.0),
        ("cosine_restarts", 2, 7, 0.5),
        ("cosine_restarts", 3, 7, 1.0),
        ("cosine_restarts", 5, 7, 0.5),
        ("cosine_restarts", 7, 7, 0.0),
        ("cosine_restarts:cycles=2,multiplier=1,floor=0.5", 1, 4, 0.75),
        ("cosine_restarts:cycles=2,multiplier=1", 2, 4, 1.0),
        ("cosine_restarts:cycles=1", 2, 4, 0.5),
        ("cosine_restarts:cycles=2,multiplier=1,warmup=2", 3, 6, 0.5),
        ("cosine_restarts:cycles=2,multiplier=1,warmup=2", 4, 6, 1.0),
        ("step", 0, 200, 1.0),
        ("step", 159.99, 200, 1.0),
        ("step", 160, 200, 0.01),
        ("step", 179.99, 200, 0.01),
        ("step", 180, 200, 0.0001),
        ("step", 199.99, 200, 0.0001),
        ("step:warmup=5", 1, 200, 0.2),
        ("step:milestones=0.5,gamma=0.1", 1, 2, 0.1),
    ],
)
def test_a_schedule_gives_the_factor_worked_out_by_hand(text, epoch, epochs, expected):
    assert _bind(text)(epoch, epochs, []) == pytest.approx(expected, abs=1e-12)


@EVERY_SCHEDULE
def test_every_schedule_rises_linearly_through_fractions_of_the_warm_up(schedule):
    factors = [schedule(epoch, 100, [], warmup=2.5) for epoch in (0, 0.125, 1, 2.375)]
    assert factors == pytest.approx([0, 0.05, 0.4, 0.95])
    assert schedule(2.5, 100, [], warmup=2.5) == pytest.approx(1.0)


@EVERY_SCHEDULE
def test_a_warm_up_takes_at_most_half_of_the_training(schedule):
    for warmup in (1.0, 2.0, 5.0):
        factors = [schedule(epoch, 1, [], warmup=warmup) for epoch in (0.125, 0.25, 0.5)]
        assert factors == pytest.approx([0.25, 0.5, 1.0])
    assert schedule(1.5, 4, [], warmup=3.0) == pytest.approx(0.75)


@given(name=st.sampled_from(list(SCHEDULES)), history=HISTORIES, data=st.data())
def test_every_factor_is_between_0_and_1(name, history, data):
    epochs = data.draw(st.integers(1, 300))
    epoch = data.draw(st.floats(0, epochs))
    warmup = data.draw(st.floats(0, 10))
    assert 0 <= SCHEDULES[name](epoch, epochs, history, warmup=warmup) <= 1


@given(
    history=HISTORIES,
    patience=st.integers(0, 5),
    factor=st.sampled_from([0.1, 0.5]),
    min_delta=st.sampled_from([0.0, 1e-4, 0.05]),
)
def test_plateau_recomputed_from_the_history_is_torch_s_scheduler(
    history, patience, factor, min_delta
):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode="max",
        factor=factor,
        patience=patience,
        threshold=min_delta,
        threshold_mode="abs",
        eps=0,
    )
    for done, value in enumerate(history, start=1):
        theirs.step(value)
        ours = schedules.plateau(
            done, 100, history[:done], factor=factor, patience=patience, min_delta=min_delta
        )
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"])


def test_plateau_drops_with_the_epoch_after_its_patience():
    history = [0.5, 0.6, 0.6, 0.55, 0.6]
    factors = [schedules.plateau(n, 20, history[:n], patience=2) for n in range(6)]
    assert factors == pytest.approx([1, 1, 1, 1, 1, 0.1])


def test_the_learning_rate_is_the_base_rate_times_the_factor():
    assert learning_rate(schedules.step, 0.1, 170, 200, []) == pytest.approx(0.001)
    falling = [0.5] * 7
    assert learning_rate(schedules.plateau, 0.2, 7, 20, falling) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("history", "stops"),
    [
        ([], False),
        ([0.5], False),
        ([0.5, 0.5, 0.4], False),
        ([0.5, 0.5, 0.4, 0.5], True),
        ([0.5, 0.4, 0.4, 0.6], False),
        ([0.5, 0.4, 0.4, 0.6, 0.5, 0.5, 0.5], True),
        ([0.5, math.nan, math.nan, math.nan], True),
        ([math.nan, math.nan, 0.1], False),
        ([-0.9, -0.8, -0.7, -0.6], False),
    ],
)
def test_training_stops_after_patience_epochs_without_a_new_best(history, stops):
    assert should_stop(history, patience=3) is stops


def test_an_improvement_up_to_min_delta_is_none():
    history = [0.5, 0.51, 0.52, 0.53]
    assert not should_stop(history, patience=3)
    assert not should_stop(history, patience=3, min_delta=0.025)
    assert should_stop(history, patience=3, min_delta=0.035)


@given(history=st.lists(st.floats(0, 1), min_size=1, max_size=30), patience=st.integers(1, 6))
def test_training_never_stops_within_patience_of_its_best_epoch(history, patience):
    stopped = next(
        (n for n in range(len(history) + 1) if should_stop(history[:n], patience=patience)), None
    )
    shown = history[:stopped]
    since_best = len(shown) - 1 - shown.index(max(shown))
    assert since_best == patience if stopped else since_best < patience


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("constant:warmup=-1", "warmup must be at least 0 epochs, got -1"),
        ("cosine:floor=1.5", "floor must be in [0, 1], got 1.5"),
        ("cosine_restarts:cycles=0", "cycles must be between 1 and 100, got 0"),
        ("cosine_restarts:multiplier=0.5", "multiplier must be between 1 and 10, got 0.5"),
        ("step:gamma=0", "gamma must be in (0, 1], got 0"),
        ("plateau:factor=1", "factor must be larger than 0 and smaller than 1, got 1"),
        ("plateau:patience=-1", "patience must be at least 0 epochs, got -1"),
        ("plateau:min_delta=-1", "min_delta must be at least 0, got -1"),
    ],
)
def test_a_option_of_a_schedule_out_of_range_is_refused_with_rule_and_value(text, message):
    with pytest.raises(ValueError) as caught:
        _bind(text)(0.5, 10, [])
    assert str(caught.value) == message


@pytest.mark.parametrize("milestones", ["160/180", "0.9/0.8", "0.5/0.5", "a", "", "0/0.5", "1"])
def test_milestones_that_are_no_rising_fractions_are_refused(milestones):
    with pytest.raises(ValueError, match=r"milestones must be rising fractions .* got"):
        schedules.step(0, 10, [], milestones=milestones)


def test_points_outside_the_training_are_refused_or_held():
    with pytest.raises(ValueError, match="epoch must be at least 0 and epochs 1, got -1 and 10"):
        schedules.constant(-1, 10, [])
    with pytest.raises(ValueError, match="got 0 and 0"):
        schedules.constant(0, 0, [])
    assert schedules.cosine(11, 10, []) == pytest.approx(0)


def test_early_stopping_needs_a_patience_of_an_epoch():
    with pytest.raises(ValueError, match="patience must be at least 1 epochs, got 0"):
        should_stop([0.5], patience=0)
