"""matplotlib, with its cache of fonts kept out of the user's home folder. Import what draws from here."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile

from yolo9000.errors import needs_extra


def _use_temporary_folder() -> None:
    """Let matplotlib keep its cache of fonts in a temporary folder; called before it is imported.

    Who uses matplotlib already, or has said where its files belong, is left alone.
    """
    if "MPLCONFIGDIR" in os.environ or "matplotlib" in sys.modules or _has_own_folder():
        return
    folder = tempfile.mkdtemp(prefix="yolo9000-matplotlib-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["MPLCONFIGDIR"] = folder


def _has_own_folder() -> bool:
    configs = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    folders = (f"{configs}/matplotlib", "~/.matplotlib")
    return any(os.path.isdir(os.path.expanduser(folder)) for folder in folders)  # noqa: PTH111, PTH112  no HOME: no error


_use_temporary_folder()
with needs_extra("report", "drawing plots"):
    from matplotlib import colormaps
    from matplotlib.axes import Axes
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import MaxNLocator, PercentFormatter

__all__ = ["Axes", "Figure", "MaxNLocator", "PercentFormatter", "PowerNorm", "Rectangle", "colormaps"]
