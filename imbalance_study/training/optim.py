"""Optimizers, groups with and without weight decay, and sharpness-aware minimisation."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

Params = Iterable[Any]  # parameters, or groups of them as dicts


def _uncompiled(kind: type[torch.optim.Optimizer]) -> Any:
    """Derive an optimizer without torch's wrappers for optimizers that are compiled.

    The wrappers import torch._dynamo, which takes a second before the first update. No optimizer
    is compiled here; what they wrap is the same.
    """
    wrapped = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in wrapped}
    methods["step"] = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__.removeprefix("_Late"), (kind,), methods)


class _LateSGD(torch.optim.SGD):
    """SGD whose parameters may begin to train later: torch's fused step refuses to mix them.

    A buffer of zeros gives what a first step does: momentum * 0 + gradient.
    """

    def _init_group(self, group: Any, params: Any, grads: Any, buffers: list[Any]) -> bool:
        is_sparse = bool(super()._init_group(group, params, grads, buffers))  # type: ignore[no-untyped-call]
        if any(buffer is not None for buffer in buffers):
            zeros = torch.zeros_like
            buffers[:] = [
                zeros(param) if buffer is None else buffer
                for param, buffer in zip(params, buffers, strict=True)
            ]
        return is_sparse


SGD = _uncompiled(_LateSGD)
Adam = _uncompiled(torch.optim.Adam)
AdamW = _uncompiled(torch.optim.AdamW)
RMSprop = _uncompiled(torch.optim.RMSprop)


def parameter_groups(
    model: nn.Module,
    weight_decay: float,
    *,
    no_decay: Collection[nn.Parameter] = (),
    decay_bias_and_norm: bool = True,
) -> list[dict[str, Any]]:
    """Split the trainable parameters of a model into at most two groups, decayed and not.

    Everything decays by default, as in the long-tail papers (Cao et al. 2019 and those after).

    Args:
        model: Parameters that need no gradient are left out.
        weight_decay: For the decayed group.
        no_decay: Parameters without decay: the bias of a head under a sigmoid loss.
        decay_bias_and_norm: False spares all parameters with at most one dimension: biases, norm
            layers, scales.

    Raises:
        ValueError: All parameters are frozen.
    """
    spared = {id(parameter) for parameter in no_decay}
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            spare = parameter.ndim <= 1 and not decay_bias_and_norm
            target = undecayed if spare or id(parameter) in spared else decayed
            target.append(parameter)
    if not decayed and not undecayed:
        raise ValueError("the model has no trainable parameters: all are frozen")
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": undecayed, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def slower(
    groups: Iterable[dict[str, Any]], parameters: Iterable[nn.Parameter], share: float
) -> list[dict[str, Any]]:
    """Split groups so that some parameters have a share of the learning rate (``lr_scale``).

    Discriminative fine-tuning (Howard and Ruder 2018, arXiv:1801.06146, sec. 3.2), with one rate
    for the head and one for all else.

    Args:
        groups: As `parameter_groups` makes them.
        parameters: Parameters with the other rate.
        share: Their rate over that of the others.
    """
    slow = {id(parameter) for parameter in parameters}
    split = []
    for group in groups:
        fast = [one for one in group["params"] if id(one) not in slow]
        rest = [one for one in group["params"] if id(one) in slow]
        split += [group | {"params": fast}, group | {"params": rest, "lr_scale": share}]
    return [group for group in split if group["params"]]


def sgd(
    params: Params,
    *,
    lr: float,
    weight_decay: float,
    momentum: float = 0.9,
    nesterov: bool = True,
    sam: float = 0.0,
) -> torch.optim.Optimizer:
    """Build SGD with Nesterov momentum.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate.
        weight_decay: L2, added to the gradient.
        momentum: In [0, 1).
        nesterov: Look ahead along the momentum (Sutskever et al. 2013).
        sam: Radius rho of sharpness-aware minimisation (see `sam_perturb`), 0 is off.

    Raises:
        ValueError: `momentum` is outside [0, 1), `nesterov` has none, or `sam` is negative.
    """
    _check_fraction("momentum", momentum)
    if nesterov and momentum == 0:
        raise ValueError("nesterov=true needs a momentum larger than 0, got momentum=0")
    groups = _listed(params)
    optimizer = SGD(
        groups,
        lr=lr,
        weight_decay=weight_decay,
        momentum=momentum,
        nesterov=nesterov,
        fused=_fused(groups),
    )
    return _finished(optimizer, sam)


def adam(
    params: Params,
    *,
    lr: float,
    weight_decay: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    sam: float = 0.0,
) -> torch.optim.Optimizer:
    """Build Adam, its weight decay part of the gradient (Kingma and Ba 2015, arXiv:1412.6980).

    Raises:
        ValueError: A beta is outside [0, 1), `eps` is not positive, or `sam` is negative.
    """
    options = {"lr": lr, "weight_decay": weight_decay, "eps": eps}
    return _adam(Adam, params, (beta1, beta2), options, sam)


def adamw(
    params: Params,
    *,
    lr: float,
    weight_decay: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    sam: float = 0.0,
) -> torch.optim.Optimizer:
    """Build Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101).

    The weights shrink by ``lr * weight_decay`` at each update, as in torch.

    Raises:
        ValueError: A beta is outside [0, 1), `eps` is not positive, or `sam` is negative.
    """
    options = {"lr": lr, "weight_decay": weight_decay, "eps": eps}
    return _adam(AdamW, params, (beta1, beta2), options, sam)


def _adam(
    kind: type[torch.optim.Adam],
    params: Params,
    betas: tuple[float, float],
    options: dict[str, Any],
    sam: float,
) -> torch.optim.Optimizer:
    for name, beta in zip(("beta1", "beta2"), betas, strict=True):
        _check_fraction(name, beta)
    _check_positive("eps", options["eps"])
    groups = _listed(params)
    optimizer = kind(groups, betas=betas, fused=_fused(groups), **options)
    return _finished(optimizer, sam)


def rmsprop(
    params: Params,
    *,
    lr: float,
    weight_decay: float,
    alpha: float = 0.99,
    momentum: float = 0.0,
    eps: float = 1e-8,
    sam: float = 0.0,
) -> torch.optim.Optimizer:
    """Build RMSprop: steps over the running root mean square of each weight's gradient.

    torch has no fused one: in fp16 each update waits for the device, to see whether its gradients
    are finite.

    Raises:
        ValueError: `alpha` or `momentum` is outside [0, 1), `eps` is not positive, or `sam` is
            negative.
    """
    _check_fraction("alpha", alpha)
    _check_fraction("momentum", momentum)
    _check_positive("eps", eps)
    optimizer = RMSprop(
        params, lr=lr, weight_decay=weight_decay, alpha=alpha, momentum=momentum, eps=eps
    )
    return _finished(optimizer, sam)


def _listed(params: Params) -> list[Any]:
    return [
        {**one, "params": list(one["params"])} if isinstance(one, dict) else one for one in params
    ]


def _fused(groups: list[Any]) -> bool | None:
    # SGD of resnet18 on one core: 4 ms fused, 11 ms torch's choice, 28 ms foreach.
    first = groups[0] if groups else None
    weight = first["params"][0] if isinstance(first, dict) else first
    return True if weight is not None and weight.device.type in ("cpu", "cuda") else None


def _finished(optimizer: torch.optim.Optimizer, sam: float) -> torch.optim.Optimizer:
    if not 0 <= sam < math.inf:
        raise ValueError(f"sam must be at least 0 and finite, got {sam:g}")
    for group in optimizer.param_groups:
        group["sam"] = sam
    optimizer.register_load_state_dict_post_hook(_match_layouts)
    return optimizer


def _match_layouts(optimizer: torch.optim.Optimizer) -> None:
    # Fused kernels walk through memory: a momentum saved as channels_last, loaded beside a
    # contiguous weight, would silently belong to other weights.
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1), got {value:g}")


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be larger than 0 and finite, got {value:g}")


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group the learning rate, times its own ``lr_scale`` where it has one."""
    for group in optimizer.param_groups:
        value = lr * group.get("lr_scale", 1.0)
        if isinstance(group["lr"], Tensor):  # a CUDA graph reads it at this address
            group["lr"].fill_(value)
        else:
            group["lr"] = value


def uses_sam(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether the optimizer was built with ``sam`` above 0."""
    return any(group["sam"] > 0 for group in optimizer.param_groups)


@torch.no_grad()
def sam_perturb(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Climb from w to ``w + rho g / |g|``, the first half of a SAM update.

    Sharpness-aware minimisation (SAM, Foret et al. 2021, arXiv:2010.01412, eq. 2 with p = 2); |g|
    is the norm of the gradient of all parameters together. The caller computes the gradient at the
    new place, with batch-norm statistics paused (`batch_norm_paused`), calls `sam_restore`, and
    steps. A gradient of zero moves nothing; the scale of a scaled loss cancels.

    Returns:
        Copies of the weights, for `sam_restore`.
    """
    saved = [weight.clone() for weight in _weights(optimizer)]
    gradients = [w.grad for w in _weights(optimizer) if w.grad is not None]
    if not gradients:
        return saved
    norm = torch.stack(torch._foreach_norm(gradients)).norm()
    per_norm = 1 / norm.clamp_min(torch.finfo(norm.dtype).tiny)
    for group in optimizer.param_groups:
        moved = [weight for weight in group["params"] if weight.grad is not None]
        if moved:
            unit = torch._foreach_mul([weight.grad for weight in moved], per_norm)
            torch._foreach_add_(moved, unit, alpha=group["sam"])
    return saved


@torch.no_grad()
def sam_restore(optimizer: torch.optim.Optimizer, saved: list[Tensor]) -> None:
    """Put the weights back bit by bit, the second half of a SAM update; keep the gradients."""
    torch._foreach_copy_(_weights(optimizer), saved)


@contextlib.contextmanager
def batch_norm_paused(model: nn.Module) -> Iterator[None]:
    """Keep the running statistics of batch norm as they are, in training mode.

    SAM's second pass runs at weights that are never kept; their statistics must not enter.
    """
    layers = [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


def _weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]
