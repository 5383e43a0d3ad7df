"""The page as one file: what is in it, and what is wrong about what it is made from."""

from __future__ import annotations

import base64
import gzip
import html.parser
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from support.small_models import TREE, write_flat, write_tree_model

from yolo9000 import Detector, load_model
from yolo9000.checkpoints.export import export_onnx
from yolo9000.errors import ConfigError, DataError
from yolo9000.serve.one_file import RUNTIME_FILES, export_page, read_runtime

CONTENTS = {name: f"the contents of {name}".encode() for name in RUNTIME_FILES}


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    folder = tmp_path / "onnxruntime-web"
    (folder / "dist").mkdir(parents=True)
    for name, data in CONTENTS.items():
        (folder / "dist" / name).write_bytes(data)
    return folder


class _Scripts(html.parser.HTMLParser):
    """The contents of the scripts by id, the links, and the policy."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: dict[str, str] = {}
        self.urls: list[str] = []
        self._open: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.urls += [url for name in ("src", "href") if (url := values.get(name))]
        if tag == "script":
            self._open = values.get("id") or values.get("type") or ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.scripts[self._open] = data

    def handle_endtag(self, tag: str) -> None:
        self._open = None

    def unpacked(self, name: str) -> bytes:
        return gzip.decompress(base64.b64decode(self.scripts[name]))


def exported(model: Path, runtime: Path, tmp_path: Path, **options: object) -> _Scripts:
    [path] = export_page(load_model(model), tmp_path / "page.html", name="small", runtime=runtime, **options)
    return _Scripts(path.read_text("utf-8"))


def test_the_file_holds_all_that_the_page_needs(runtime: Path, tmp_path: Path) -> None:
    Image.new("RGB", (5, 3)).save(tmp_path / "sample.png")
    page = exported(write_tree_model(tmp_path), runtime, tmp_path, samples=[tmp_path / "sample.png"])
    contents = json.loads(page.scripts["contents"])
    assert contents["tree"]["names"] == list(TREE.names)
    assert contents["tree"]["parents"] == TREE.parents.tolist()
    assert contents["model"]["kind"] == "tree"
    assert contents["model"]["network_wh"] == [72, 48]
    assert contents["samples"][0]["source"].startswith("data:image/png;base64,")
    assert [page.unpacked(name) for name in ("runtime", "glue", "wasm")] == list(CONTENTS.values())
    imports = json.loads(page.scripts["importmap"])["imports"]
    assert "page/walk.js" in imports
    for url in imports.values():  # a module may import only what the map names
        assert '"./' not in base64.b64decode(url.partition(",")[2]).decode()


def test_the_file_asks_for_nothing(runtime: Path, tmp_path: Path) -> None:
    page = exported(write_flat(tmp_path), runtime, tmp_path)
    assert all(url.startswith("data:") for url in page.urls)
    assert "default-src 'none'" in (tmp_path / "page.html").read_text("utf-8")


def test_a_name_that_ends_a_script_does_not_end_it(runtime: Path, tmp_path: Path) -> None:
    names = ("</script><b>", "dog", "cat", "kite", "bus")
    page = exported(write_flat(tmp_path, names=names), runtime, tmp_path)
    assert json.loads(page.scripts["contents"])["tree"]["names"] == list(names)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_the_graph_answers_as_the_same_dtype_in_onnx(dtype: str, runtime: Path, tmp_path: Path) -> None:
    model = write_tree_model(tmp_path)
    page = exported(model, runtime, tmp_path, dtype=dtype)
    (tmp_path / "graph.onnx").write_bytes(page.unpacked("graph"))
    [file] = export_onnx(load_model(model), tmp_path / "same.onnx", dtype=dtype)  # type: ignore[arg-type]
    ours, theirs = ({t.name: t for t in onnx.load(path).graph.initializer} for path in (tmp_path / "graph.onnx", file))
    assert ours == theirs


def test_an_exported_int8_model_keeps_its_integers(runtime: Path, tmp_path: Path) -> None:
    [file] = export_onnx(load_model(write_tree_model(tmp_path)), tmp_path / "small.onnx", dtype="int8")
    (tmp_path / "graph.onnx").write_bytes(exported(file, runtime, tmp_path).unpacked("graph"))
    before, after = (
        {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
        for path in (file, tmp_path / "graph.onnx")
    )
    assert before.keys() == after.keys()
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, rtol=1e-6, err_msg=name)


def test_the_settings_are_those_of_the_detector(runtime: Path, tmp_path: Path) -> None:
    contents = json.loads(exported(write_tree_model(tmp_path), runtime, tmp_path).scripts["contents"])
    assert contents["model"]["settings"] == Detector.load(tmp_path / "tree.cfg").settings.model_dump()


def test_the_runtime_may_be_an_archive(tmp_path: Path) -> None:
    archive = tmp_path / "onnxruntime-web-1.30.0.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, data in {**CONTENTS, "ort.js": b"another"}.items():
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    assert read_runtime(archive) == CONTENTS


def test_without_the_runtime_the_error_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"npm install onnxruntime-web.*no dist/ort\.wasm\.min\.js") as raised:
        read_runtime(tmp_path)
    assert raised.value.argument == "runtime"
    (tmp_path / "damaged.tgz").write_bytes(b"\x1f\x8b damaged")
    with pytest.raises(DataError, match=r"not a \.tgz of npm, or damaged"):
        read_runtime(tmp_path / "damaged.tgz")


def test_a_sample_must_be_an_image_that_browsers_show(runtime: Path, tmp_path: Path) -> None:
    for name in ("notes.txt", "scan.tiff"):
        (tmp_path / name).write_bytes(b"any")
        with pytest.raises(DataError, match=rf"{name}: a sample must be an image that browsers show \(\.avif"):
            exported(write_flat(tmp_path), runtime, tmp_path, samples=[tmp_path / name])
    (tmp_path / "photo.WEBP").write_bytes(b"any")
    page = exported(write_flat(tmp_path), runtime, tmp_path, samples=[tmp_path / "photo.WEBP"])
    assert json.loads(page.scripts["contents"])["samples"][0]["source"].startswith("data:image/webp;base64,")
