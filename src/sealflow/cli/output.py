"""What nodes print while ``sealflow run`` runs them: cleaned line by line, and sent to standard error."""

from __future__ import annotations

import io
import re
import sys
import threading
from typing import Any, TextIO

from sealflow.logs import Clean, active_cleaners

_FOLDED = re.compile(r"\s*[A-Za-z0-9+/=_-]{60,}\s*")
_MOST_HELD = 64 << 10


class CleanedOutput(io.TextIOBase):
    """A text stream that masks the values of the runs of this process. A line is passed on when it is complete.

    Lines that look like a part of folded base64 are held until the block ends, as a value may go on in the next line.
    """

    def __init__(self, stream: TextIO, real: TextIO) -> None:
        """``stream``: where the cleaned text goes; ``real``: the standard output that this replaces."""
        self.stream = stream
        self.real = real
        self.buffer = _Bytes(self)
        self._lock = threading.RLock()
        self._held = ""
        self._cleaners: list[Clean] = []

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._lock:
            # What a run printed last is cleaned even if the run has ended when it is passed on.
            self._cleaners += [clean for clean in active_cleaners() if clean not in self._cleaners]
            self._held += text
            if "\n" in text or len(self._held) > _MOST_HELD:
                self._pass_on()
        return len(text)

    def flush(self) -> None:
        """Flush what was passed on; an incomplete line is still held.

        Python flushes what it collects, at the end of the process too, when the stream may be closed already.
        """
        if not self.stream.closed:
            self.stream.flush()

    def finish(self) -> None:
        """Pass on everything that is held."""
        with self._lock:
            self._emit(len(self._held))

    def _pass_on(self) -> None:
        end = self._held.rfind("\n") + 1
        lines = self._held[:end].splitlines(keepends=True)
        while lines and _FOLDED.fullmatch(lines[-1]):
            end -= len(lines.pop())
        self._emit(end if len(self._held) <= _MOST_HELD else len(self._held))

    def _emit(self, end: int) -> None:
        text, self._held = self._held[:end], self._held[end:]
        for clean in self._cleaners:
            text = clean(text)
        self.stream.write(text.encode("utf-8", "backslashreplace").decode())
        self.stream.flush()


class _Bytes(io.RawIOBase):
    """The ``buffer`` of the stream: ``sys.stdout.buffer.write(…)`` is cleaned too."""

    def __init__(self, text: CleanedOutput) -> None:
        self._text = text

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raw = bytes(data)
        self._text.write(raw.decode("utf-8", "backslashreplace"))
        return len(raw)


def clean_output() -> CleanedOutput:
    """Send what is printed from now on, cleaned, to standard error; ``real`` of the result is the standard output.

    Nothing puts the streams back, as a thread may print until the process ends.
    """
    stdout = sys.stdout
    output = CleanedOutput(sys.stderr, stdout)
    sys.stdout = sys.stderr = output
    return output
