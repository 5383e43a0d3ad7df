"""How many CPU cores there are to use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["available_cores"]

CGROUP_QUOTAS = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))  # of version 2, and 1


def available_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Number of CPU cores that this process may use: by its affinity, and by the quota of its container.

    Args:
        cgroup: where Linux shows the quota.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([cores, *(max(1, math.ceil(quota)) for quota in _quotas(cgroup))])


def _quotas(cgroup: Path) -> Iterator[float]:
    for files in CGROUP_QUOTAS:
        with suppress(OSError, ValueError):  # no such file; or ``max``, which is no limit
            quota, period = (float(word) for file in files for word in (cgroup / file).read_text().split())
            if quota > 0:  # version 1 says -1 where there is no limit
                yield quota / period
