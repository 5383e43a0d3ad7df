from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from yolo9000.data.images import copy_image
from yolo9000.errors import ConfigError
from yolo9000.io.files import locked_folder, replacing, write_atomically
from yolo9000.types import ImageFile


def test_writes_text_and_bytes(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "Grün\n")
    write_atomically(tmp_path / "b", b"\x00\xff")
    assert (tmp_path / "a").read_bytes() == "Grün\n".encode()
    assert (tmp_path / "b").read_bytes() == b"\x00\xff"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("old")

    def half(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "a", "new text")
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_is_said_of_the_file(tmp_path: Path) -> None:
    """The system's error names none."""

    def fill_the_disk() -> None:
        with replacing(tmp_path / "a") as part:
            part.write_text("some")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        fill_the_disk()
    assert caught.value.filename == str(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_copy_is_whole_or_not_there_and_its_source_is_not_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    source.write_bytes(b"12345")
    copy_image(ImageFile(source), target)
    assert target.read_bytes() == b"12345"

    def fill_the_disk(read: Path, written: Path) -> None:  # as `shutil` raises it
        Path(written).write_bytes(b"12")
        raise OSError(errno.ENOSPC, "No space left on device", str(read), None, str(written))

    monkeypatch.setattr(shutil, "copyfile", fill_the_disk)
    with pytest.raises(OSError, match="No space left") as caught:
        copy_image(ImageFile(source), tmp_path / "c.png")
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "c.png"), None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_a_locked_folder_goes_where_nothing_was_written(tmp_path: Path) -> None:
    with locked_folder(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
        with pytest.raises(ConfigError, match="another process writes into it"), locked_folder(tmp_path / "a" / "b"):
            pass
    assert not (tmp_path / "a" / "b").exists()
    with locked_folder(tmp_path / "c"):
        (tmp_path / "c" / "file").touch()
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["file"]
    (tmp_path / "mine").mkdir()
    with locked_folder(tmp_path / "mine"):
        pass
    assert (tmp_path / "mine").is_dir()
