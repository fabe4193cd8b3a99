"""Two trainings that take short turns, so that both meet the same noise.

Each has a process of its own, which is stopped as a whole while the other's runs: what it does
beside the training, such as an upload, goes on in its own turns alone and cannot hide in the
other's.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any


class _Training:
    """A process that trains, stopped unless it has its turn."""

    def __init__(self, train: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        context = multiprocessing.get_context("spawn")
        self._words, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_report, args=(theirs, train, arguments))
        self._process.start()
        theirs.close()
        self.seconds = 0.0
        self.ended = False

    def wait(self) -> None:
        """Wait until it stops itself at its first step."""
        self._until("first")

    def turn(self, seconds: float) -> None:
        """Let it run for so long, or to the end of its last epoch."""
        begun = time.perf_counter()
        self._signal(signal.SIGCONT)
        self.ended = self._words.poll(seconds)
        self.seconds += time.perf_counter() - begun
        self._signal(signal.SIGSTOP)
        if self.ended:
            self._until("last")

    def leave(self) -> None:
        """Let it go on, and wait for its end."""
        self._signal(signal.SIGCONT)
        self._process.join()

    def kill(self) -> None:
        """End it as it is."""
        self._process.kill()
        self._process.join()

    def _until(self, word: str) -> None:
        try:
            came = self._words.recv()
        except EOFError:
            came = "nothing"
        if came != word:
            raise RuntimeError(f"a training ended before its {word} epoch, see above")

    def _signal(self, number: int) -> None:
        os.kill(self._process.pid or 0, number)


def ratio(
    train: Callable[..., None],
    first: tuple[Any, ...],
    second: tuple[Any, ...],
    slice_seconds: float,
) -> float:
    """Seconds of the first training over those of the second, from first step to last epoch.

    Args:
        train: A function of a module, called in a process of its own with a hook and the arguments.
            It calls the hook with False at the first step and with True after the last epoch.
        first: Arguments of the one.
        second: Arguments of the other.
        slice_seconds: Length of a turn.

    Raises:
        RuntimeError: A training failed.
    """
    both: list[_Training] = []
    try:
        both.extend(_Training(train, arguments) for arguments in (first, second))
        for one in both:
            one.wait()
        while not all(one.ended for one in both):
            for one in both:
                if not one.ended:
                    one.turn(slice_seconds)
        for one in both:
            one.leave()
    except BaseException:
        for one in both:
            one.kill()
        raise
    return both[0].seconds / both[1].seconds


def _report(words: Connection, train: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    def hook(last: bool) -> None:
        words.send("last" if last else "first")
        if not last:
            os.kill(os.getpid(), signal.SIGSTOP)

    train(hook, *arguments)
