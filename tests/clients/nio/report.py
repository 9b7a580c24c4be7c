"""Reporting and waiting: `check` prints one JSON line for each fact; answers that are errors become exceptions."""

import asyncio
import json
import os
import sys

from nio import ErrorResponse

PATIENCE = float(os.environ.get("E2E_PATIENCE_MS", "15000")) / 1000
counts = {"ok": 0, "fail": 0}


class Failed(Exception):
    """A check that does not hold."""


def emit(value):
    """Writes one JSON line to standard output."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


class check:
    """`async with check("name"):` reports `{"ok": name}` or `{"fail": name, "detail": …}` and swallows the error.

    With `need=True` a failure ends the run, because everything after it would fail too.
    """

    def __init__(self, name, need=False):
        self.name, self.need = name, need

    async def __aenter__(self):
        return self

    async def __aexit__(self, kind, error, trace):
        if kind is None:
            counts["ok"] += 1
            emit({"ok": self.name})
            return False
        if not issubclass(kind, Exception):
            return False
        counts["fail"] += 1
        emit({"fail": self.name, "detail": f"{kind.__name__}: {error}"[:1000]})
        if self.need:
            finish()
        return True


def finish():
    """Prints the totals and ends the process: 0 when every check held, else 1."""
    emit({"done": counts})
    sys.stdout.flush()
    os._exit(0 if counts["fail"] == 0 and counts["ok"] > 0 else 1)


def same(got, want, what):
    """Raises unless both values are equal."""
    if got != want:
        raise Failed(f"{what}: got {got!r}, want {want!r}")


def true(condition, detail):
    """Raises unless the condition holds."""
    if not condition:
        raise Failed(str(detail))


async def ok(call):
    """Awaits a request and raises if its answer is an error."""
    answer = await call
    if isinstance(answer, ErrorResponse):
        raise Failed(str(answer))
    return answer


async def refused(call, errcode="M_FORBIDDEN", status=None):
    """Awaits a request and raises unless its answer is this error (or one of these)."""
    answer = await call
    if not isinstance(answer, ErrorResponse):
        raise Failed(f"wanted {errcode}, was accepted: {answer}"[:400])
    codes = errcode if isinstance(errcode, (list, tuple)) else [errcode]
    true(answer.status_code in codes, f"wanted {codes}, got {answer}")
    if status is not None:
        same(answer.transport_response.status, status, "HTTP status")
    return answer


async def checkpoint(name):
    """Prints the checkpoint and waits for a line on standard input, which says that the server is back."""
    emit({"checkpoint": name})
    line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    true(line, "standard input closed at the checkpoint")
