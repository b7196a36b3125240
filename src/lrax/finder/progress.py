"""A line on the terminal that says how far a long run has come."""

import sys
import time

PATIENCE = 3.0
"""Seconds after which a run is long."""


class Progress:
    """A bar on standard error, if that is a terminal; as a context it leaves the line empty."""

    def __init__(self, label: str, total: int) -> None:
        self._label, self._total = label, total
        self._begin, self._shown = time.monotonic(), 0

    def __enter__(self) -> "Progress":
        return self

    def show(self, done: int, text: str) -> None:
        """So much is done."""
        if time.monotonic() - self._begin > PATIENCE and sys.stderr.isatty():
            bar = ("#" * (20 * done // self._total)).ljust(20)
            self._write(f"{self._label} |{bar}| {done}/{self._total} {text}")

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._write("")
            sys.stderr.write("\r")

    def _write(self, line: str) -> None:
        sys.stderr.write("\r" + line.ljust(self._shown))
        sys.stderr.flush()
        self._shown = len(line)
