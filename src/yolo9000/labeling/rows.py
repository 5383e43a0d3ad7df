"""Labels as a table with a row for each image: JSON lines or Parquet."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo9000.errors import ConfigError, needs_extra
from yolo9000.io.files import replacing, writing
from yolo9000.labeling.images import ListedImage
from yolo9000.labeling.parts import Record
from yolo9000.taxonomy.wordtree import WordTree

if TYPE_CHECKING:
    import pyarrow

__all__ = ["ROW_FORMATS", "write_rows"]

ROWS_AT_ONCE = 10_000
"""Number of rows of a row group in Parquet."""

Rows = Iterator[dict[str, Any]]


def write_rows(records: Iterable[tuple[ListedImage, Record]], tree: WordTree, to: str, folder: Path) -> Counter[str]:
    """Write a row for each image, in order: ``labels.jsonl`` or ``labels.parquet``.

    A row has ``image``, the name; ``width`` and ``height`` in pixels; ``boxes``, each with ``box_xyxy`` in pixels, the
    ``id`` and ``name`` of a node, ``score`` and the number of ``models``; and, if the image could not be read, an
    ``error`` in their place. Memory does not grow with the number of rows.

    Args:
        records: each image with its record, such as `Parts`.
        tree: whose nodes the labels are.
        to: one of `ROW_FORMATS`.
        folder: where to.

    Returns:
        Number of boxes of each class.

    Raises:
        ConfigError: the format is none of these.
        DataError: the folder cannot be written.
        EngineError: pyarrow is not installed.
    """
    if to not in ROW_FORMATS:
        raise ConfigError(f"must be one of {', '.join(ROW_FORMATS)}, got {to!r}", argument="to")
    counts: Counter[str] = Counter()
    file = folder / f"labels.{to}"
    with writing(file):
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(file) as part:
            ROW_FORMATS[to](part, _counted(records, tree, counts))
    return counts


def _counted(records: Iterable[tuple[ListedImage, Record]], tree: WordTree, counts: Counter[str]) -> Rows:
    for _, record in records:
        row = record | {"boxes": [_named(box, tree) for box in record.get("boxes", ())]}
        counts.update(box["name"] for box in row["boxes"])
        yield row


def _named(box: dict[str, Any], tree: WordTree) -> dict[str, Any]:
    return {**box, "name": tree.names[tree.index_by_id[box["id"]]]}


def _write_jsonl(file: Path, rows: Rows) -> None:
    with file.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write_parquet(file: Path, rows: Rows) -> None:
    with needs_extra("parquet", "writing Parquet"):
        import pyarrow
        from pyarrow import parquet
    schema = _schema()
    with parquet.ParquetWriter(file, schema) as writer:
        while some := list(islice(rows, ROWS_AT_ONCE)):
            writer.write_table(pyarrow.Table.from_pylist(some, schema))


def _schema() -> pyarrow.Schema:
    import pyarrow as pa

    box = {"box_xyxy": pa.list_(pa.float64()), "id": pa.string(), "name": pa.string()}
    box |= {"score": pa.float64(), "models": pa.int32()}
    columns = {"image": pa.string(), "width": pa.int32(), "height": pa.int32(), "error": pa.string()}
    return pa.schema({**columns, "boxes": pa.list_(pa.struct(box))})


ROW_FORMATS: dict[str, Callable[[Path, Rows], None]] = {"jsonl": _write_jsonl, "parquet": _write_parquet}
"""Who writes each format."""
