import dataclasses

import pytest
import torch

from imbalance_study.training.procedure import EpochResult, Fit, Procedure


def _procedure(**changes):
    model = torch.nn.Linear(2, 3)
    given = {
        "loss": lambda logits, targets, counts: logits.sum(1),
        "probabilities": lambda logits: logits.softmax(1),
        "class_counts": torch.ones(3),
        "class_weights": torch.ones(3),
        "sampler": lambda targets, generator: torch.arange(len(targets)),
        "augment": lambda images, generator: images,
        "normalise": lambda images: images.float(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "schedule": lambda epoch, epochs, history: 1.0,
        "lr": 0.1,
        "epochs": 1,
        "batch_size": 4,
    }
    return Procedure(**(given | changes))


def test_a_procedure_without_options_switches_every_remedy_off():
    plain = _procedure()
    assert (plain.mix, plain.tail_augment, plain.early_stopping) == (None, None, None)
    assert (plain.defer, plain.supcon, plain.ema_decay, plain.reconstruct) == (0, 0, 0, 0)
    assert plain.hard_fraction == 1
    assert plain.max_seconds == float("inf")


def test_a_procedure_puts_the_whole_model_into_training_mode_by_default():
    model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(2, 2)).eval()
    _procedure().train_mode(model, 0.5)
    assert all(module.training for module in model.modules())


def test_records_of_a_training_do_not_change_afterwards():
    for record in (_procedure(), EpochResult(1, {"train/loss": 0.5})):
        with pytest.raises(dataclasses.FrozenInstanceError):
            record.epoch = record.epochs = 2
    assert Fit([], {}, {}, 1, 2.0, 3, 4, "all epochs done").steps == 4
