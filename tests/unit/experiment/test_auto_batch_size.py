import pytest
import torch

from imbalance_study.config.resolve import make, resolve, usual_batch_size
from imbalance_study.experiment import auto_batch_size
from imbalance_study.experiment import run as experiment
from imbalance_study.experiment.setup.data import batches_of
from imbalance_study.experiment.setup.inputs import load_inputs

SMALL = {
    "dataset": "digits",
    "model": "roomy.net:of_ten",
    "image_size": 8,
    "epochs": 1,
    "analyses": "none",
    "device": "cpu",
}
NET = """
import torch
from torch import nn

class Room(nn.Module):
    def __init__(self, room):
        super().__init__()
        self.room = room

    def forward(self, images):
        if self.training and images.device.type == "cpu" and len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return images

def of_ten(num_classes, *, room: int = 10):
    return nn.Sequential(Room(room), nn.Flatten(), nn.Linear(192, num_classes))
"""


@pytest.fixture(autouse=True)
def _model(tmp_path, monkeypatch):
    (tmp_path / "roomy").mkdir()
    (tmp_path / "roomy" / "net.py").write_text(NET)
    monkeypatch.syspath_prepend(str(tmp_path))


def _setting(**options):
    config = make(**SMALL | options)
    inputs = load_inputs(config)
    return inputs, batches_of(inputs.data, "train", config, inputs.device_setup.device)


def test_an_update_that_does_not_fit_is_answered_with_the_size_that_does(tmp_path):
    message = (
        r"batch_size=32 does not fit into the memory of this cpu; batch_size=8 does: set it, or "
        r"batch_size=auto"
    )
    with pytest.raises(ValueError, match=message):
        experiment.run(make(**SMALL, batch_size=32), output_dir=tmp_path, show_progress=False)
    with pytest.raises(ValueError, match=r"nor does any smaller one: choose a smaller image_size"):
        experiment.run(
            make(**SMALL | {"model": "roomy.net:of_ten:room=0"}, batch_size=2),
            output_dir=tmp_path,
            show_progress=False,
        )


def test_the_largest_of_the_halves_that_fits_is_found():
    assert auto_batch_size.largest(*_setting(), 32) == 8
    assert auto_batch_size.largest(*_setting(), 10) == 10
    assert auto_batch_size.largest(*_setting(model="roomy.net:of_ten:room=0"), 2) == 0


def test_trying_moves_no_random_number_of_the_run(tmp_path):
    plain = experiment.run(make(**SMALL, batch_size=8), output_dir=tmp_path, show_progress=False)
    inputs = auto_batch_size.settle(*_setting(batch_size="auto"))
    assert inputs.config.batch_size == 32  # on a processor that of the data set
    again = experiment.run(make(**SMALL, batch_size=8), output_dir=tmp_path, show_progress=False)
    assert plain.metrics["test/loss"] == again.metrics["test/loss"]


def test_auto_is_the_number_of_the_recipe_or_the_data_set_until_it_is_tried(tmp_path):
    assert resolve({"dataset": "digits", "batch_size": "auto"}).config.batch_size == "auto"
    assert usual_batch_size(make(dataset="digits", batch_size="auto")) == 32
    assert usual_batch_size(make(dataset="cifar10", batch_size="auto")) == 128
    assert usual_batch_size(make(dataset="digits", recipe="paper_ldam_drw")) == 128
    model = "roomy.net:of_ten:room=40"
    result = experiment.run(
        make(**SMALL | {"model": model}, batch_size="auto"),
        output_dir=tmp_path,
        show_progress=False,
    )
    assert result.config.batch_size == result.facts.batch_size == 32
    assert result.procedure.batch_size == 32


def test_a_range_test_that_does_not_fit_is_answered_as_a_training_is(tmp_path):
    config = make(**SMALL, batch_size=32, lr="auto")
    with pytest.raises(ValueError, match=r"batch_size=32 does not fit .* batch_size=8 does"):
        experiment.run(config, output_dir=tmp_path, show_progress=False)


def test_the_failed_training_leaves_the_device_before_others_are_tried(monkeypatch):
    inputs, train = _setting(batch_size=32)
    model = torch.nn.Linear(2, 2)
    model(torch.ones(1, 2)).sum().backward()
    optimizer = torch.optim.Adam(model.parameters())
    optimizer.step()
    held = []

    def largest(inputs, train, size):
        held.append((len(optimizer.state), [weight.grad for weight in model.parameters()]))
        return 8

    monkeypatch.setattr(auto_batch_size, "largest", largest)
    message = "batch_size=8 does"
    with (
        pytest.raises(ValueError, match=message),
        auto_batch_size.advised(inputs, train, model, optimizer),
    ):
        raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")
    assert held == [(0, [None, None])]
    with (
        pytest.raises(RuntimeError, match="shapes"),
        auto_batch_size.advised(inputs, train, model, optimizer),
    ):
        raise RuntimeError("shapes")
