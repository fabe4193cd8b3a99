import pytest

from imbalance_study.experiment.analyses import costs


def test_the_costs_are_those_of_the_model_and_of_its_training(make_context, monkeypatch):
    monkeypatch.setattr(costs, "LATENCY_SECONDS", 0.01)
    found = costs.costs(make_context()).metrics
    convolution, head = 3 * 4 * 9 + 4, 4 * 3 + 3
    assert found["cost/parameters"] == found["cost/trainable_parameters"] == convolution + head
    assert found["cost/macs"] == pytest.approx(8 * 8 * 3 * 4 * 9 + 4 * 3, rel=0.05)
    assert found["cost/train_images_per_second"] == 42 / 2.0
    assert 0 < found["cost/latency_ms_b1"] <= found["cost/latency_ms_b1_p95"]
