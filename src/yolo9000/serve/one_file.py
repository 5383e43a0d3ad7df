"""The page as one ``.html`` file that needs no server: the model, its tree and ONNX Runtime Web are in it.

Modules become ``data:`` URLs that an import map names, other files base64 of gzip. The page's own Content Security
Policy forbids every request.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo9000.checkpoints.model import LoadedModel
from yolo9000.checkpoints.onnx import portable_graph
from yolo9000.choices import WeightsDtype
from yolo9000.errors import ConfigError, DataError
from yolo9000.io.files import reading, write_atomically, writing
from yolo9000.io.pages import DESIGN, template_text
from yolo9000.serve.describe import model_record, tree_record

__all__ = ["export_page", "read_runtime"]

PAGE = Path(__file__).parent / "page"
RUNTIME_FILES = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
INSTALL = "npm install onnxruntime-web"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'unsafe-inline' 'wasm-unsafe-eval' data: blob:",
        "worker-src blob:",
        "connect-src data:",
        "style-src 'unsafe-inline'",
        "img-src data: blob:",
        "media-src blob:",
        "form-action 'none'",
        "base-uri 'none'",
    )
)
MAX_RUNTIME_BYTES = 100_000_000
IMAGE_TYPES = {
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
}
"""Files that browsers show."""


def export_page(
    model: LoadedModel,
    path: Path,
    *,
    name: str,
    runtime: Path,
    dtype: WeightsDtype = "int8",
    samples: Sequence[Path] = (),
) -> list[Path]:
    """Write the page.

    Args:
        model: the detector, from any file but OpenVINO's.
        path: the ``.html`` file.
        name: of the model, for its title.
        runtime: ONNX Runtime Web; see `read_runtime`.
        dtype: how weights are stored; inference is in float32.
        samples: images that the page offers to try, before those that it always has; they are stored in it.

    Returns:
        The file.

    Raises:
        ConfigError: the model is a classifier, or the runtime is not there.
        EngineError: the model is an OpenVINO file.
        DataError: a file cannot be read or written.
    """
    record = model_record(model, name) | {"anchors_wh_cells": model.detector_head.anchors_wh_cells.tolist()}
    assets = dict(zip(("runtime", "glue", "wasm"), read_runtime(runtime).values(), strict=True))
    assets["graph"] = portable_graph(model, dtype=dtype)
    offered = [_sample(file) for file in [*samples, *sorted((PAGE / "samples").iterdir())]]
    contents = {"model": record, "tree": tree_record(model, name), "samples": offered}
    html = _html(contents, assets)
    with writing(path):
        write_atomically(path, html)
    return [path]


def read_runtime(runtime: Path) -> dict[str, bytes]:
    """The three files of ONNX Runtime Web that run a network on one thread of the CPU, by their names.

    Args:
        runtime: the folder of the npm package ``onnxruntime-web`` 1.19 or newer, or its ``.tgz`` from ``npm pack``.

    Raises:
        ConfigError: a file is not there.
    """
    if runtime.is_file():
        return _read_archive(runtime)
    folder = runtime / "dist"
    missing = next((name for name in RUNTIME_FILES if not (folder / name).is_file()), None)
    if missing:
        raise _no_runtime(runtime, f"dist/{missing}")
    with reading(str(folder)):
        return {name: (folder / name).read_bytes() for name in RUNTIME_FILES}


def _read_archive(path: Path) -> dict[str, bytes]:
    wanted = dict.fromkeys(RUNTIME_FILES, b"")
    with reading(str(path), "not a .tgz of npm, or damaged"), tarfile.open(path, "r:gz") as archive:
        for member in archive:
            name = Path(member.name).name
            if member.isfile() and name in wanted and member.size <= MAX_RUNTIME_BYTES:
                stream = archive.extractfile(member)
                wanted[name] = stream.read() if stream else b""
    missing = next((name for name, data in wanted.items() if not data), None)
    if missing:
        raise _no_runtime(path, f"package/dist/{missing}")
    return wanted


def _no_runtime(path: Path, missing: str) -> ConfigError:
    return ConfigError(
        f"must be the folder or .tgz of the npm package onnxruntime-web 1.19 or newer ({INSTALL}), "
        f"got {path}, which has no {missing}",
        argument="runtime",
    )


def _sample(path: Path) -> dict[str, str]:
    kind = IMAGE_TYPES.get(path.suffix.lower())
    if kind is None:
        raise DataError(f"{path}: a sample must be an image that browsers show ({', '.join(IMAGE_TYPES)})")
    with reading(str(path)):
        return {"name": path.name, "source": _data_url(kind, path.read_bytes())}


def _html(contents: Mapping[str, Any], assets: Mapping[str, bytes]) -> str:
    modules = {item.name: item.read_text("utf-8") for item in PAGE.iterdir() if item.suffix == ".js"}
    worker = modules.pop("worker.js")
    styles = template_text(DESIGN) + (PAGE / "style.css").read_text("utf-8")
    imports = {f"page/{name}": _data_url("text/javascript", _bare(text).encode()) for name, text in modules.items()}
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n<style>\n{styles}</style>\n'
        f'<script type="importmap">{_json({"imports": imports})}</script>'
    )
    body = "\n".join(
        (
            f'<script type="application/json" id="contents">{_json(contents)}</script>',
            f'<script type="text/plain" id="worker">{_packed(worker.encode())}</script>',
            *(f'<script type="text/plain" id="{key}">{_packed(data)}</script>' for key, data in assets.items()),
            '<script type="module">import "page/app.js";</script>',
        )
    )
    html = (PAGE / "index.html").read_text("utf-8")
    html = re.sub(r"<!-- files -->.*?<!-- /files -->", lambda _: head, html, flags=re.DOTALL)
    return html.replace("</body>", f"{body}\n</body>")


def _bare(module: str) -> str:
    """A module whose imports are found by the import map: a ``data:`` URL has no folder."""
    return re.sub(r'(from|import) "\./', r'\1 "page/', module)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
