"""Clocks, percentiles, and the memory of processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MIB = 1024 * 1024
PROC = Path("/proc")


def median_seconds(call: Callable[[], Any], repeats: int) -> float:
    """Return the median wall time of a call, in seconds."""
    return statistics.median(seconds(call) for _ in range(repeats))


def seconds(call: Callable[[], Any]) -> float:
    """Return the wall time of one call, in seconds."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of some values."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def middle(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of each figure of several runs; None where one is missing."""
    return {name: _middle([run.get(name) for run in runs]) for name in runs[0]}


def _middle(values: list[Any]) -> Any:
    if any(value is None for value in values):
        return None
    if isinstance(values[0], dict):
        return middle(values)
    return statistics.median(values)


def mib(value: float | None) -> str:
    """Return a size for people."""
    return "unknown" if value is None else f"{value:,.0f} MiB"


class PeakMemory:
    """The most memory that some processes held at once, in MiB; None where /proc is missing."""

    def __init__(self) -> None:
        self.server: float | None = None
        self.client: float | None = None

    def see(self, server_pid: int, client_pid: int) -> None:
        """Look once: the server with all its children, and a client with all of its own."""
        parents = {pid: parent for pid, parent in _parents()}
        for name, root in (("server", server_pid), ("client", client_pid)):
            found = sum(_proportional_mib(pid) for pid in parents if _descends(pid, root, parents))
            setattr(self, name, max(found, getattr(self, name) or 0))


@contextmanager
def watched(server_pid: int, client_pid: int) -> Iterator[PeakMemory]:
    """Watch the memory of a server and a client, once a second: a look takes a while itself."""
    peak, done = PeakMemory(), threading.Event()

    def watch() -> None:
        while PROC.is_dir() and not done.wait(1):
            peak.see(server_pid, client_pid)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def run_module(module: str, *arguments: str, server_pid: int) -> tuple[str, PeakMemory]:
    """Run a module in a process of its own; return what it printed and the memory it took."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True
    )
    with watched(server_pid, process.pid) as peak:
        output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{module} ended with exit code {process.returncode}")
    return output, peak


def _parents() -> Iterator[tuple[int, int]]:
    """Yield each process of the machine and its parent."""
    for folder in PROC.glob("[0-9]*"):
        try:
            # The name, in parentheses, may hold anything.
            yield int(folder.name), int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue


def _descends(pid: int, root: int, parents: dict[int, int]) -> bool:
    while pid and pid != root:
        pid = parents.get(pid, 0)
    return pid == root


def _proportional_mib(pid: int) -> float:
    """The memory of a process; what several share counts once in all, in parts."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
