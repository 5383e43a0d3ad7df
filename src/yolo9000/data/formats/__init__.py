"""The formats of data sets. A format is one module with the members of `Format`, and one line here.

A reader is a generator of `Annotation`: a sample, its issues, or both. What is wrong with one image never ends the
reading; a file that cannot be understood as a whole raises a `DataError`. An issue can be fixed where the sample that
comes with it can be used, the bad objects corrected or left out, or where leaving out the record loses no image.
Images are opened as far as their header where boxes must fit into them, and `size_wh` is then the size found there;
pixels are not decoded.
"""

from __future__ import annotations

from collections.abc import Mapping

from yolo9000.data.format import Format
from yolo9000.data.formats import (
    coco,
    csv,
    cvat,
    darknet,
    folder,
    imagefolder,
    kitti,
    labelme,
    labelstudio,
    multilabel,
    openimages,
    parquet,
    supervisely,
    tar,
    via,
    voc,
    widerface,
    yolo,
)

__all__ = ["FORMATS", "WRITABLE"]

FORMATS: Mapping[str, Format] = {
    voc.NAME: voc,
    coco.NAME: coco,
    yolo.NAME: yolo,
    darknet.NAME: darknet,
    csv.NAME: csv,
    cvat.NAME: cvat,
    labelstudio.NAME: labelstudio,
    labelme.NAME: labelme,
    via.NAME: via,
    supervisely.NAME: supervisely,
    kitti.NAME: kitti,
    widerface.NAME: widerface,
    openimages.NAME: openimages,
    imagefolder.NAME: imagefolder,
    parquet.NAME: parquet,
    multilabel.NAME: multilabel,
    tar.NAME: tar,
    folder.NAME: folder,
}
"""By name. Where two are equally sure of a data set, neither wins."""

WRITABLE = tuple(name for name, one in FORMATS.items() if one.write is not None)
"""The names of the formats that can be written."""
