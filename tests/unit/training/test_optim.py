import copy
import math

import pytest
import torch
from torch import nn

from imbalance_study.config import choices, spec
from imbalance_study.training import optim

OPTIMIZERS = spec.functions(choices.OPTIMIZERS)

RESERVED = frozenset({"lr", "weight_decay"})


def _make(text, params, lr=0.1, weight_decay=0.01):
    made = spec.bind(choices.OPTIMIZERS, text, "optimizer", RESERVED)
    return made(params, lr=lr, weight_decay=weight_decay)


def _model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)
        )
    return model.to(memory_format=torch.channels_last)


def _train(model, optimizer, steps=4):
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        images = torch.randn(8, 3, 5, 5, generator=generator)
        optimizer.zero_grad()
        model(images.to(memory_format=torch.channels_last)).square().mean().backward()
        optimizer.step()


def _assert_same_weights(model, other, **tolerances):
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, **tolerances)


@pytest.mark.parametrize(
    ("text", "theirs", "options"),
    [
        ("sgd", torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        ("sgd:momentum=0.5,nesterov=false", torch.optim.SGD, {"momentum": 0.5}),
        ("sgd:momentum=0,nesterov=false", torch.optim.SGD, {}),
        ("adam", torch.optim.Adam, {}),
        ("adam:beta1=0.5,beta2=0.9,eps=0.1", torch.optim.Adam, {"betas": (0.5, 0.9), "eps": 0.1}),
        ("adamw", torch.optim.AdamW, {}),
        ("adamw:beta1=0.5", torch.optim.AdamW, {"betas": (0.5, 0.999)}),
        ("rmsprop", torch.optim.RMSprop, {}),
        (
            "rmsprop:alpha=0.9,momentum=0.5",
            torch.optim.RMSprop,
            {"alpha": 0.9, "momentum": 0.5},
        ),
    ],
)
def test_an_optimizer_steps_as_torch_s_with_the_same_options(text, theirs, options):
    weights = nn.Parameter(torch.linspace(-1, 1, 11, dtype=torch.float64))
    others = nn.Parameter(weights.detach().clone())
    ours = _make(text, [weights])
    reference = theirs([others], lr=0.1, weight_decay=0.01, foreach=False, **options)
    for parameter, optimizer in ((weights, ours), (others, reference)):
        for step in range(5):
            optimizer.zero_grad()
            ((parameter - 0.3 * step) ** 4).sum().backward()
            optimizer.step()
    torch.testing.assert_close(weights, others)


def test_sgd_with_momentum_worked_out_by_hand():
    weight = nn.Parameter(torch.tensor([1.0]))
    optimizer = _make("sgd:momentum=0.5,nesterov=true", [weight], lr=0.1, weight_decay=0.5)
    weight.grad = torch.tensor([2.0])
    optimizer.step()  # decayed gradient 2.5, momentum 2.5, step 2.5 + 0.5 * 2.5
    assert weight.item() == pytest.approx(1 - 0.1 * 3.75)


def test_channels_last_weights_are_stepped_as_contiguous_ones():
    model, other = _model(), _model().to(memory_format=torch.contiguous_format)
    for trained in (model, other):
        _train(trained, _make("sgd", trained.parameters()))
    assert not model[0].weight.is_contiguous()
    _assert_same_weights(model, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_loaded_into_another_memory_layout_belongs_to_the_same_weights(name):
    whole = _model()
    optimizer = _make(name, whole.parameters(), lr=0.001)
    _train(whole, optimizer)
    resumed = copy.deepcopy(whole).to(memory_format=torch.contiguous_format)
    loaded = _make(name, resumed.parameters(), lr=0.001)
    loaded.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for model, used in ((whole, optimizer), (resumed, loaded)):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        used.step()
    _assert_same_weights(resumed, whole)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_resumed_optimizer_goes_on_bit_by_bit(name):
    whole = _model()
    optimizer = _make(name, whole.parameters(), lr=0.001)
    _train(whole, optimizer)
    resumed, state = copy.deepcopy(whole), copy.deepcopy(optimizer.state_dict())
    _train(whole, optimizer)
    loaded = _make(f"{name}:sam=0.5", resumed.parameters(), lr=0.7)
    loaded.load_state_dict(state)
    _train(resumed, loaded)
    for mine, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert not optim.uses_sam(loaded)


def test_everything_decays_by_default_but_what_is_named():
    model = _model()
    (everything,) = optim.parameter_groups(model, 0.1)
    assert everything["weight_decay"] == 0.1
    assert {id(p) for p in everything["params"]} == {id(p) for p in model.parameters()}
    decayed, spared = optim.parameter_groups(model, 0.1, no_decay=[model[4].bias])
    assert [id(p) for p in spared["params"]] == [id(model[4].bias)]
    assert spared["weight_decay"] == 0
    assert len(decayed["params"]) == 5


def test_biases_and_norms_can_be_spared():
    model = _model()
    decayed, spared = optim.parameter_groups(model, 0.1, decay_bias_and_norm=False)
    assert {id(p) for p in decayed["params"]} == {id(model[0].weight), id(model[4].weight)}
    assert len(spared["params"]) == 4


def test_only_the_decayed_group_shrinks_without_a_gradient():
    head = nn.Linear(2, 2)
    groups = optim.parameter_groups(head, 0.5, no_decay=[head.bias])
    optimizer = _make("sgd:momentum=0,nesterov=false", groups, lr=0.1, weight_decay=0.5)
    weight, bias = head.weight.detach().clone(), head.bias.detach().clone()
    for parameter in head.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(head.weight, weight * 0.95)
    assert torch.equal(head.bias, bias)


def test_frozen_parameters_are_left_out_and_a_frozen_model_is_refused():
    model = _model()
    model[0].requires_grad_(False)
    (group,) = optim.parameter_groups(model, 0.1)
    assert len(group["params"]) == 4
    with pytest.raises(ValueError, match="no trainable parameters"):
        optim.parameter_groups(model.requires_grad_(False), 0.1)


def test_generators_of_parameters_serve_in_groups_as_well():
    model = nn.Linear(2, 2)
    optimizer = _make("sgd", [{"params": model.parameters(), "weight_decay": 0.0}])
    assert len(optimizer.param_groups[0]["params"]) == 2
    assert optimizer.param_groups[0]["weight_decay"] == 0


def test_the_learning_rate_is_set_in_every_group():
    model = _model()
    groups = optim.parameter_groups(model, 0.1, decay_bias_and_norm=False)
    optimizer = _make("sgd", groups)
    optim.set_lr(optimizer, 0.025)
    assert [group["lr"] for group in optimizer.param_groups] == [0.025, 0.025]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_sam_on_a_quadratic_of_two_parameters_worked_out_by_hand(name):
    # f = (3 a^2 + b^2) / 2 at (1, 4): gradient (3, 4), of norm 5; with rho 0.5 the climb is
    # (0.3, 0.4), and the gradient there (3.9, 4.4). The weights lie in two groups.
    a, b = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(4.0))
    optimizer = _make(f"{name}:sam=0.5", [{"params": [a]}, {"params": [b]}], weight_decay=0.0)
    assert optim.uses_sam(optimizer)
    ((3 * a**2 + b**2) / 2).backward()
    saved = optim.sam_perturb(optimizer)
    assert (a.item(), b.item()) == pytest.approx((1.3, 4.4))
    optimizer.zero_grad()
    ((3 * a**2 + b**2) / 2).backward()
    optim.sam_restore(optimizer, saved)
    assert (a.item(), b.item()) == (1.0, 4.0)
    assert (a.grad.item(), b.grad.item()) == pytest.approx((3.9, 4.4))
    optimizer.step()
    if name == "sgd":  # Nesterov's first step is 1.9 times the gradient
        assert (a.item(), b.item()) == pytest.approx((1 - 0.19 * 3.9, 4 - 0.19 * 4.4))


def test_sam_puts_back_every_bit_also_of_weights_without_gradient():
    model = _model()
    optimizer = _make("sgd:sam=0.05", model.parameters())
    before = copy.deepcopy(model.state_dict())
    model[0](torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))).sum().backward()
    saved = optim.sam_perturb(optimizer)
    assert not torch.equal(model[0].weight, before["0.weight"])
    assert torch.equal(model[4].weight, before["4.weight"])
    optim.sam_restore(optimizer, saved)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("scale", [1.0, 65536.0])
def test_sam_climbs_by_rho_whatever_the_scale_of_the_loss(scale):
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = _make("sgd:sam=0.1", [weight])
    weight.grad = torch.tensor([3.0, 4.0]) * scale
    optim.sam_perturb(optimizer)
    torch.testing.assert_close(weight.detach(), torch.tensor([1.06, 2.08]))


def test_sam_stays_where_the_gradient_is_zero_or_missing():
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = _make("sgd:sam=0.1", [weight])
    optim.sam_perturb(optimizer)
    assert weight.tolist() == [1.0, 2.0]
    weight.grad = torch.zeros(2)
    optim.sam_perturb(optimizer)
    assert weight.tolist() == [1.0, 2.0]


def test_the_second_pass_of_sam_leaves_batch_norm_statistics_alone():
    model = _model().train()
    images = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    expected = model(images)
    before = copy.deepcopy(dict(model.named_buffers()))
    with optim.batch_norm_paused(model):
        found = model(images)
    assert torch.equal(found, expected)  # statistics of the batch, as in training
    assert all(torch.equal(before[name], value) for name, value in model.named_buffers())
    model(images)
    assert not torch.equal(before["1.running_mean"], model[1].running_mean)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sgd:momentum=1", "momentum must be in [0, 1), got 1"),
        ("sgd:momentum=0", "nesterov=true needs a momentum larger than 0, got momentum=0"),
        ("sgd:sam=-0.1", "sam must be at least 0 and finite, got -0.1"),
        ("adam:beta1=1", "beta1 must be in [0, 1), got 1"),
        ("adamw:beta2=-1", "beta2 must be in [0, 1), got -1"),
        ("adamw:eps=0", "eps must be larger than 0 and finite, got 0"),
        ("rmsprop:alpha=1.5", "alpha must be in [0, 1), got 1.5"),
        ("rmsprop:momentum=-1", "momentum must be in [0, 1), got -1"),
    ],
)
def test_a_option_of_an_optimizer_out_of_range_is_refused_with_rule_and_value(text, message):
    with pytest.raises(ValueError) as caught:
        _make(text, [nn.Parameter(torch.zeros(1))])
    assert str(caught.value) == message


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_update_with_sam_does_not_wait_for_the_gpu(name):
    weight = nn.Parameter(torch.ones(4, 4, device="cuda"))
    optimizer = _make(f"{name}:sam=0.05", [weight])
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        saved = optim.sam_perturb(optimizer)
        optim.sam_restore(optimizer, saved)
        optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert math.isfinite(weight.sum().item())


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_an_optimizer_without_the_wrappers_of_compilation_steps_as_torchs_own(name):
    models = []
    for package in (optim, torch.optim):
        models.append(_model())
        optimizer = getattr(package, name)(list(models[-1].parameters()), lr=0.1)
        _train(models[-1], optimizer)
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        _train(models[-1], optimizer)
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(one, other)


def test_sgd_takes_parameters_that_begin_to_train_later():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(2, 5, generator=generator)
    gradients = torch.randn(4, 2, 5, generator=generator)

    def trained(make):
        weights = [nn.Parameter(one.clone()) for one in start]
        made = make(weights)
        for step, (first, second) in enumerate(gradients):
            weights[0].grad = first.clone()
            weights[1].grad = second.clone() if step >= 2 else None
            made.step()
        return torch.stack([weight.detach() for weight in weights])

    ours = trained(lambda weights: optim.sgd(weights, lr=0.1, weight_decay=0.01, momentum=0.9))
    plain = trained(
        lambda weights: torch.optim.SGD(
            weights, lr=0.1, weight_decay=0.01, momentum=0.9, nesterov=True, foreach=False
        )
    )
    torch.testing.assert_close(ours, plain)
