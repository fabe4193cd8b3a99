import numpy as np
import pytest
import torch
import toy_training

from imbalance_study.training import checkpointing, optim, snapshot
from imbalance_study.training.best_epoch import Best
from imbalance_study.training.procedure import EpochResult
from imbalance_study.training.progress import Progress
from imbalance_study.training.trainer import Trainer


def trainer_of(seed=0, **changes):
    model = toy_training.model_of(seed)
    procedure = toy_training.procedure_of(
        model,
        optimizer=optim.sgd(model.parameters(), lr=0.05, weight_decay=0.0, momentum=0.9),
        augment=toy_training.noise,
        **changes,
    )
    return Trainer(model, toy_training.batches_of(), procedure, lambda purpose: seed + len(purpose))


def epoch_of(trainer, number, epochs=3):
    progress = Progress(epochs, enabled=False)
    return trainer.epoch(number, [], None, 0.0, progress)


def written_and_read(state, folder):
    with checkpointing.Keeper(folder, {}) as keeper:
        keeper.save(1, state, lambda: None)
    return checkpointing.newest(folder, pytest.fail)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_training_goes_on_from_the_disk_bit_by_bit(tmp_path, ema_decay):
    whole = trainer_of(ema_decay=ema_decay)
    first = epoch_of(whole, 0)
    state = written_and_read(snapshot.take(whole, Best("last"), [first], 1.0), tmp_path)
    second = epoch_of(whole, 1)

    resumed = trainer_of(seed=5, ema_decay=ema_decay)
    history = snapshot.restore(state, resumed, Best("last"))
    snapshot.restore_generators(state, resumed)
    assert [epoch.epoch for epoch in history] == [1]
    again = epoch_of(resumed, 1)
    assert again.metrics["train/loss"] == second.metrics["train/loss"]
    assert (resumed.steps, resumed.images_seen) == (whole.steps, whole.images_seen)
    weights = resumed.evaluated.state_dict()
    assert toy_training.same_weights(whole.evaluated.state_dict(), weights)


def test_the_best_epoch_is_kept_and_the_newest_is_not_written_twice():
    trainer = trainer_of()
    metrics = {"val/x": 0.9, "val/loss": 0.25}, {"val/x": 0.5, "val/loss": 0.125}
    results = [EpochResult(number, values) for number, values in enumerate(metrics, start=1)]
    best = Best("val/x")
    best.offer(1, metrics[0], trainer.model)
    assert snapshot.take(trainer, best, results[:1], 0.0)["best"]["state"] == {}
    state = snapshot.take(trainer, best, results, 0.0)
    assert toy_training.same_weights(best.state, state["best"]["state"])
    with torch.no_grad():
        next(trainer.model.parameters()).zero_()
    restored = Best("val/x")
    snapshot.restore(snapshot.take(trainer, best, results, 0.0), trainer, restored)
    assert (restored.epoch, restored.rank) == (1, (0.9, -0.25))
    assert toy_training.same_weights(best.state, restored.state)


def test_an_epoch_survives_its_encoding_but_for_its_images():
    epoch = EpochResult(
        3,
        {"train/loss": np.float32(0.5), "val/accuracy": float("nan")},
        val_recall=np.array([0.5, np.nan]),
        drawn=np.array([4, 2]),
    )
    encoded = snapshot.encode_epoch(epoch)
    assert all(isinstance(value, float) for value in encoded["metrics"].values())
    decoded = snapshot.decode_epoch(encoded)
    assert decoded.epoch == 3
    np.testing.assert_array_equal(decoded.val_recall, epoch.val_recall)
    np.testing.assert_array_equal(decoded.drawn, epoch.drawn)
    assert decoded.metrics["train/loss"] == 0.5
    bare = snapshot.decode_epoch(snapshot.encode_epoch(EpochResult(1, {})))
    assert bare.val_recall is None
    assert bare.drawn is None
