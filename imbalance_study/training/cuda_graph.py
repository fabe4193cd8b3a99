"""A whole update as one CUDA graph: a GPU then waits for one launch instead of several hundred.

At small images an update consists of hundreds of short operations, and the processor that launches
them one by one sets the pace. A graph is recorded once and launched as a whole. It reads and writes
fixed addresses: batches, class weights and learning rates are copied there before each launch.

`AUTO` says what ``cuda_graph=auto`` means; `benchmarks/gpu_equality.py` is the proof that it waits
for.
"""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor, nn

from imbalance_study.data.loader import Batch
from imbalance_study.training import optim
from imbalance_study.training.procedure import Procedure
from imbalance_study.training.update import Update

# Whether ``cuda_graph=auto`` captures. False until benchmarks/gpu_equality.py has passed on a GPU;
# whoever sets it True writes the date and the card behind it.
AUTO = False
# Updates before the capture, part of the training: they make momentum, tables and cuDNN's choices.
WARM_UP = 3


class CapturedUpdate:
    """An `Update` that is captured after a few of its calls, and replayed from then on.

    The captured updates compute what the others do, with the same random numbers. A batch of
    another size, as the last one of an epoch, is not captured.

    Attributes:
        update: The update; its model, procedure and generator of draws are used here as well.
    """

    def __init__(self, update: Update) -> None:
        self.update = update
        self._key: Hashable = None
        self._warmed = 0
        self._weights: Tensor | None = None
        self._batch: Batch | None = None
        self._made: tuple[Tensor, Tensor] | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        make_capturable(update.procedure.optimizer, _device(update.procedure))

    def begin(self, weights: Tensor | None) -> None:
        """Begin an epoch, in which these class weights (C,) are in force, None where all are 1.

        What the graph holds is compared with the model: where other weights train or other layers
        are in training mode, the next full batches are warmed up and captured anew.
        """
        key = capture_key(self.update.model, weights is None)
        if key != self._key:
            self.drop()
            self._key = key
        if weights is not None:
            if self._weights is None:
                self._weights = weights.clone()
            self._weights.copy_(weights)

    def drop(self) -> None:
        """Give the graph up, and the memory of its activations."""
        self._graph, self._batch, self._made, self._weights = None, None, None, None
        self._warmed = 0

    def __call__(self, batch: Batch, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Make one update; see `Update`. The weights are those of `begin`."""
        if self._key is None:
            self.begin(weights)
        if len(batch.targets) != self.update.procedure.batch_size:
            return self.update(batch, self._weights)
        if self._warmed < WARM_UP:
            self._warmed += 1
            return self._beside(batch)
        if self._graph is None:
            self._capture(batch)
        assert self._graph is not None
        assert self._batch is not None
        assert self._made is not None
        self._batch.images.copy_(batch.images)
        self._batch.targets.copy_(batch.targets)
        self._graph.replay()
        loss, hits = self._made  # the next launch overwrites them
        return loss.clone(), hits.clone()

    def _beside(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Make an update on a stream of its own, as the capture needs it."""
        device = batch.targets.device
        here, beside = torch.cuda.current_stream(device), torch.cuda.Stream(device)
        beside.wait_stream(here)
        with torch.cuda.stream(beside):
            made = self.update(batch, self._weights)
        here.wait_stream(beside)
        return made

    def _capture(self, batch: Batch) -> None:
        """Record an update; recording executes nothing."""
        self._batch = Batch(batch.images.clone(), batch.targets.clone())
        self.update.procedure.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.update.draws)
        # Other threads may use the GPU meanwhile: they upload, write checkpoints, measure.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._made = self.update(self._batch, self._weights)
        self._graph = graph


def make_capturable(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Put learning rates and counters on the device, for updates that are captured as a graph.

    To be called again after `load_state_dict`, which brings the numbers of a checkpoint.
    """
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(float(group["lr"]), dtype=torch.float32, device=device)
        if "capturable" in group:
            group["capturable"] = True
    for state in optimizer.state.values():
        if isinstance(state.get("step"), Tensor):
            state["step"] = state["step"].to(device, torch.float32)


def capture_key(model: nn.Module, *facts: Hashable) -> Hashable:
    """Return what a graph depends on: the weights that train, the modes of the layers, `facts`."""
    trains = tuple(weight.requires_grad for weight in model.parameters())
    modes = tuple(
        (layer.training, getattr(layer, "track_running_stats", None)) for layer in model.modules()
    )
    return (trains, modes, *facts)


def reason_against(
    device: torch.device, precision: str, optimizer: torch.optim.Optimizer, processes: int
) -> str:
    """Return why an update cannot be captured; nothing where it can."""
    if device.type != "cuda":
        return f"needs device=cuda, got device={device.type}"
    if precision == "fp16":
        return "needs precision=fp32 or bf16: fp16 reads in each step whether gradients are finite"
    if optim.uses_sam(optimizer):
        return "does not go with sam, which makes two passes"
    if processes > 1:
        return f"goes with one process, got {processes}"
    return ""


def decide(asked: str, against: str) -> bool:
    """Decide ``cuda_graph=auto|true|false``.

    Raises:
        ValueError: It is asked for, and something is against it.
    """
    if asked == "true" and against:
        raise ValueError(f"cuda_graph=true {against}; set cuda_graph=false")
    return not against and (asked == "true" or (asked == "auto" and AUTO))


def _device(procedure: Procedure) -> torch.device:
    return procedure.class_counts.device
