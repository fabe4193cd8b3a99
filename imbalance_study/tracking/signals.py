"""Signals to stop, as exceptions that come at a safe moment."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class StopSignals:
    """A context that turns signals to stop into exceptions in the main thread.

    While they are held, which they are at first, one signal waits and a second one comes through.
    The end of the context lets the waiting signal through.
    """

    def __init__(self) -> None:
        self._held = True
        self._waiting = 0  # the number of a signal; 0: none
        self._handlers: dict[int, Any] = {}  # from before the context

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            hang_up = getattr(signal, "SIGHUP", signal.SIGTERM)
            defaults = {signal.SIGINT: signal.default_int_handler, hang_up: signal.SIG_DFL}
            for number in {signal.SIGTERM, *defaults}:
                # A process that ignores Ctrl-C, or by nohup the end of its terminal, still does.
                if number == signal.SIGTERM or signal.getsignal(number) == defaults[number]:
                    self._handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if not isinstance(error, KeyboardInterrupt | SystemExit):
            self.release()

    def hold(self) -> None:
        """Let signals wait from here on."""
        self._held = True

    def release(self) -> None:
        """Let signals through, the waiting one first.

        Raises:
            KeyboardInterrupt: For Ctrl-C.
            SystemExit: For any other signal, with 128 and its number.
        """
        self._held = False
        if self._waiting:
            number, self._waiting = self._waiting, 0
            _stop(number)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._held and not self._waiting:
            self._waiting = number
        else:
            _stop(number)


def _stop(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
