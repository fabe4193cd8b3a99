"""Standard output and error that may go away: a closed terminal does not end a training."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO


class LastingStream:
    """A stream whose first failed write sends all that follows to nowhere.

    Also what libraries and child processes write to the same descriptor.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or silence the stream."""
        try:
            return self._stream.write(text)
        except OSError:
            self._silence()
            return len(text)

    def flush(self) -> None:
        """Flush, or silence the stream."""
        try:
            self._stream.flush()
        except OSError:
            self._silence()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _silence(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            self._stream.flush()  # what waits in the buffer


@contextlib.contextmanager
def lasting_output() -> Iterator[None]:
    """Let output that has gone silence what is written, and nothing else, in the context."""
    before = sys.stdout, sys.stderr
    sys.stdout = LastingStream(sys.stdout)  # type: ignore[assignment]
    sys.stderr = LastingStream(sys.stderr)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


@contextlib.contextmanager
def answer_alone(wanted: bool) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Keep standard output for an answer as JSON: what else is printed goes to standard error.

    Args:
        wanted: Whether there is to be such an answer; if not, nothing changes.

    Yields:
        The function that prints the answer, or does nothing.
    """
    if not wanted:
        yield lambda answer: None
        return
    out = sys.stdout

    def print_answer(answer: Mapping[str, Any]) -> None:
        out.write(json.dumps(answer, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        out.flush()

    with contextlib.redirect_stdout(sys.stderr):
        yield print_answer
