"""How much memory there is left to use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["available_memory"]

CGROUP_MEMORY = (  # limit and usage, of version 2, and 1
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)


def available_memory(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes of memory that this process may still use: of the machine, and by the limit of its container.

    Args:
        meminfo: where Linux shows the machine's memory.
        cgroup: where it shows the container's.

    Returns:
        None where the system does not say: only Linux does.
    """
    return min([*_of_machine(meminfo), *_of_container(cgroup)], default=None)


def _of_machine(meminfo: Path) -> Iterator[int]:
    with suppress(OSError, KeyError):
        values = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        yield 1024 * int(values["MemAvailable"].split()[0])


def _of_container(cgroup: Path) -> Iterator[int]:
    for files in CGROUP_MEMORY:
        with suppress(OSError, ValueError):  # no such file; or ``max``, which is no limit
            limit, usage = (int((cgroup / file).read_text()) for file in files)
            yield max(limit - usage, 0)
