import copy

import pytest
import torch
from toy_training import (
    NUM,
    batches_of,
    fit_toy,
    model_of,
    normalise,
    procedure_of,
    same_weights,
)

from imbalance_study.training.predict import predict, summary
from imbalance_study.training.procedure import EarlyStopping


def test_the_schedule_is_asked_in_the_middle_of_each_update():
    asked = []

    def schedule(epoch, epochs, history):
        asked.append((epoch, epochs, list(history)))
        return 0.1 * len(asked)

    model = model_of()
    fitted = fit_toy(model, procedure_of(model, lr=0.5, schedule=schedule, epochs=2, batch_size=15))
    assert [epoch for epoch, _, _ in asked] == [0.25, 0.75, 1.25, 1.75]
    assert [h.metrics["train/lr"] for h in fitted.history] == pytest.approx([0.1, 0.2])


def test_the_schedule_sees_the_watched_metric_the_higher_the_better():
    asked = []

    def schedule(epoch, epochs, history):
        asked.append(list(history))
        return 1.0

    model = model_of()
    procedure = procedure_of(model, schedule=schedule, select_by="val/loss", batch_size=NUM)
    fitted = fit_toy(model, procedure, val=batches_of())
    seen = [-epoch.metrics["val/loss"] for epoch in fitted.history]
    assert asked == [[], seen[:1], seen[:2]]


def test_the_moving_average_is_what_is_evaluated_and_kept():
    val = batches_of([0, 20, 29])
    model = model_of()
    start = copy.deepcopy(model.state_dict())
    procedure = procedure_of(
        model, lr=0.5, epochs=1, batch_size=NUM, ema_decay=0.9, select_by="val/loss"
    )
    fitted = fit_toy(model, procedure, val=val)
    trained = model.state_dict()
    for name, value in fitted.last.items():
        average = trained[name]
        if name.endswith(("weight", "bias")):
            average = 0.1 * start[name] + 0.9 * average  # the decay of the first update
            assert not torch.equal(average, trained[name])
        torch.testing.assert_close(value, average)
    assert same_weights(fitted.last, fitted.best)
    averaged = model_of()
    averaged.load_state_dict(fitted.last)
    counts = procedure.class_counts.numpy().astype(int)
    found, _ = summary(predict(averaged, val, normalise), procedure.probabilities, counts)
    assert fitted.history[0].metrics["val/loss"] == found["loss"]


def test_of_epochs_of_equal_accuracy_the_one_with_the_smallest_loss_is_kept():
    model = model_of(batch_norm=False)
    procedure = procedure_of(model, lr=1e-3, epochs=4, select_by="val/accuracy")
    fitted = fit_toy(model, procedure, val=batches_of([0]))
    assert len({epoch.metrics["val/accuracy"] for epoch in fitted.history}) == 1
    losses = [epoch.metrics["val/loss"] for epoch in fitted.history]
    assert fitted.best_epoch == 1 + losses.index(min(losses)) > 1


def test_the_epoch_with_the_lowest_validation_loss_is_kept_with_its_weights():
    states = []
    model = model_of()
    procedure = procedure_of(model, lr=0.5, epochs=8, select_by="val/loss", schedule=_then_destroy)
    fitted = fit_toy(
        model,
        procedure,
        val=batches_of(),
        on_epoch=lambda result: states.append(copy.deepcopy(model.state_dict())),
    )
    values = [epoch.metrics["val/loss"] for epoch in fitted.history]
    assert 1 < fitted.best_epoch < 8
    assert fitted.best_epoch == 1 + values.index(min(values))
    assert same_weights(fitted.best, states[fitted.best_epoch - 1])
    assert same_weights(fitted.last, states[-1])


def _then_destroy(epoch, epochs, history):
    return 0.2 if epoch < epochs / 2 else -1.0


@pytest.mark.parametrize("val", [None, [0, 20, 29]])
def test_the_last_epoch_is_kept_without_a_selection(val):
    model = model_of()
    procedure = procedure_of(model, select_by="val/loss" if val is None else "last")
    fitted = fit_toy(model, procedure, val=None if val is None else batches_of(val))
    assert fitted.best_epoch == 3
    assert same_weights(fitted.best, fitted.last)
    assert same_weights(fitted.last, model.state_dict())


def test_early_stopping_sees_the_metric_the_higher_the_better_and_ends_the_training():
    seen = []

    def stop(history):
        seen.append(list(history))
        return len(history) == 2

    model = model_of()
    procedure = procedure_of(model, early_stopping=EarlyStopping("val/loss", stop), epochs=9)
    fitted = fit_toy(model, procedure, val=batches_of())
    assert len(fitted.history) == 2
    assert seen[-1] == [-epoch.metrics["val/loss"] for epoch in fitted.history]
    assert fitted.stopped == "early stopping on val/loss"


def test_the_training_stops_within_an_epoch_when_its_time_is_over():
    model = model_of()
    fitted = fit_toy(model, procedure_of(model, max_seconds=0.0), val=batches_of())
    assert (fitted.steps, fitted.images_seen, len(fitted.history)) == (1, 8, 1)
    assert fitted.history[0].drawn.sum() == 8
    assert "val/accuracy" in fitted.history[0].metrics
    assert fitted.stopped == "max_minutes reached"


def test_a_full_training_says_so():
    model = model_of()
    fitted = fit_toy(model, procedure_of(model))
    assert fitted.stopped == "all epochs done"
    assert [epoch.epoch for epoch in fitted.history] == [1, 2, 3]


def test_what_on_epoch_raises_ends_the_training():
    class Pruned(Exception):
        pass

    epochs = []

    def on_epoch(result):
        epochs.append(result.epoch)
        if result.epoch == 2:
            raise Pruned

    model = model_of()
    with pytest.raises(Pruned):
        fit_toy(model, procedure_of(model, epochs=5), on_epoch=on_epoch)
    assert epochs == [1, 2]


def test_a_training_that_continues_another_counts_on_but_selects_anew():
    model = model_of()
    first = fit_toy(model, procedure_of(model, stage=1, select_by="val/loss"), val=batches_of())
    numbers, asked = [], []

    def schedule(epoch, epochs, history):
        asked.append((epoch, epochs, list(history)))
        return 1e-9

    procedure = procedure_of(
        model, epochs=2, stage=2, select_by="val/loss", schedule=schedule, batch_size=NUM
    )
    second = fit_toy(
        model,
        procedure,
        val=batches_of(),
        after=first,
        on_epoch=lambda result: numbers.append(result.epoch),
    )
    assert numbers == [4, 5]
    assert [epoch.epoch for epoch in second.history] == [1, 2, 3, 4, 5]
    assert [epoch.metrics["train/stage"] for epoch in second.history] == [1, 1, 1, 2, 2]
    assert [(epoch, epochs) for epoch, epochs, _ in asked] == [(0.5, 2), (1.5, 2)]
    assert asked[0][2] == []
    assert second.images_seen == 5 * NUM
    assert second.history[3].metrics["train/images_seen"] == 4 * NUM
    assert second.steps == first.steps + 2
    assert second.best_epoch in (4, 5)
    assert second.seconds > first.seconds


def test_the_last_epoch_of_a_training_that_continues_another_has_its_number():
    model = model_of()
    first = fit_toy(model, procedure_of(model))
    second = fit_toy(model, procedure_of(model, epochs=2), after=first)
    assert (first.best_epoch, second.best_epoch) == (3, 5)
    assert "train/stage" not in second.history[-1].metrics
