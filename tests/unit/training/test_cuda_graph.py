"""What can be tested of captured updates without a GPU; benchmarks/gpu_equality.py has the rest."""

import copy

import pytest
import torch
from toy_training import model_of, procedure_of

from imbalance_study.config.resolve import make
from imbalance_study.experiment.setup.device import resolve_device
from imbalance_study.training import cuda_graph, optim, snapshot

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"device": "cpu"}, "cuda_graph=true needs device=cuda, got device=cpu"),
        ({"precision": "fp16"}, "cuda_graph=true needs precision=fp32 or bf16, got fp16"),
        ({"optimizer": "sgd:sam=0.1"}, "does not go with sam, .* got optimizer=sgd:sam=0.1"),
    ],
)
def test_what_cannot_be_captured_is_refused_in_a_line(options, reason):
    with pytest.raises(ValueError, match=reason) as refused:
        make(dataset="digits", cuda_graph="true", **options)
    assert "\n" not in str(refused.value)


def test_without_a_gpu_the_option_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"cuda_graph=true needs device=cuda, got device=cpu"):
        resolve_device(make(dataset="digits", cuda_graph="true"))
    assert resolve_device(make(dataset="digits")).device.type == "cpu"


def test_each_reason_against_a_capture_is_named():
    weight = [torch.nn.Parameter(torch.zeros(2))]
    plain = optim.sgd(weight, lr=0.1, weight_decay=0.0)
    sam = optim.sgd(weight, lr=0.1, weight_decay=0.0, sam=0.1)
    assert cuda_graph.reason_against(CUDA, "bf16", plain, 1) == ""
    assert "got device=cpu" in cuda_graph.reason_against(CPU, "fp32", plain, 1)
    assert "fp16" in cuda_graph.reason_against(CUDA, "fp16", plain, 1)
    assert "sam" in cuda_graph.reason_against(CUDA, "fp32", sam, 1)
    assert "got 2" in cuda_graph.reason_against(CUDA, "fp32", plain, 2)


def test_auto_captures_where_that_was_proved_and_nothing_is_against_it(monkeypatch):
    for proved in (False, True):
        monkeypatch.setattr(cuda_graph, "AUTO", proved)
        assert cuda_graph.decide("auto", "") == proved
        assert not cuda_graph.decide("auto", "needs a GPU")
        assert not cuda_graph.decide("false", "")
        assert cuda_graph.decide("true", "")
    with pytest.raises(ValueError, match="cuda_graph=true needs a GPU; set cuda_graph=false"):
        cuda_graph.decide("true", "needs a GPU")


def test_a_graph_is_kept_as_long_as_the_same_weights_and_layers_train():
    model = model_of().train()
    before = cuda_graph.capture_key(model, True)
    assert cuda_graph.capture_key(copy.deepcopy(model), True) == before
    assert cuda_graph.capture_key(model, False) != before
    next(model.parameters()).requires_grad_(False)
    assert cuda_graph.capture_key(model, True) != before
    next(model.parameters()).requires_grad_(True)
    list(model.modules())[-1].eval()
    assert cuda_graph.capture_key(model, True) != before


@pytest.mark.parametrize("make_optimizer", [optim.sgd, optim.adam, optim.adamw, optim.rmsprop])
def test_rates_on_the_device_train_as_numbers_do_and_a_checkpoint_holds_numbers(make_optimizer):
    trained = []
    for on_device in (False, True):
        weights = [torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2))]
        groups = [{"params": weights[:1]}, {"params": weights[1:], "lr_scale": 0.5}]
        optimizer = make_optimizer(groups, lr=0.1, weight_decay=0.01)
        if on_device:
            cuda_graph.make_capturable(optimizer, CPU)
            rates = [group["lr"] for group in optimizer.param_groups]
        optim.set_lr(optimizer, 0.2)
        if on_device:
            assert [float(rate) for rate in rates] == pytest.approx([0.2, 0.1])
            assert all(a["lr"] is b for a, b in zip(optimizer.param_groups, rates, strict=True))
        trained.append(snapshot._optimizer_state(optimizer))
    plain, captured = (state["param_groups"] for state in trained)
    for group, other in zip(plain, captured, strict=True):
        assert isinstance(other["lr"], float)
        assert other["lr"] == pytest.approx(group["lr"])
        assert not other.get("capturable", False)


def test_updates_before_a_capture_and_of_other_sizes_are_made_as_ever(monkeypatch):
    """The first calls and a smaller batch reach the update itself; a capture needs a GPU."""
    made = []

    class Recorded:
        def __init__(self, model, procedure):
            self.model, self.procedure = model, procedure

        def __call__(self, batch, weights):
            made.append((len(batch.targets), weights))
            return torch.zeros(()), torch.zeros(len(batch.targets), dtype=torch.bool)

    from imbalance_study.data.loader import Batch

    model = model_of()
    procedure = procedure_of(model)
    captured = cuda_graph.CapturedUpdate(Recorded(model, procedure))
    monkeypatch.setattr(captured, "_beside", lambda batch: captured.update(batch, "beside"))
    size = procedure.batch_size
    whole = Batch(torch.zeros(size, 3, 4, 4), torch.zeros(size, dtype=torch.int64))
    part = Batch(whole.images[:2], whole.targets[:2])
    captured.begin(None)
    captured(part, None)
    for _ in range(cuda_graph.WARM_UP):
        captured(whole, None)
    assert made == [(2, None), *[(size, "beside")] * cuda_graph.WARM_UP]
    captured.begin(torch.tensor([1.0, 2.0, 0.5]))  # the weights of a deferral come into force
    assert captured._warmed == 0
    captured(part, None)
    assert made[-1][1].tolist() == [1.0, 2.0, 0.5]
