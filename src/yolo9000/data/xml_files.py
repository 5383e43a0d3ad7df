"""XML files of annotations: decoded as they declare, and parsed without what XML can be used to attack with."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

from yolo9000.data.files import MAX_LABEL_BYTES, decode_text, is_file
from yolo9000.data.issues import IssueError, make_issue, shown

__all__ = ["element_name", "iter_elements", "parse_xml", "read_xml"]

_FORBIDDEN = re.compile(r"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_DECLARATION = re.compile(r"\s*<\?xml[^>]*\?>")
_ENCODING = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z][\w.-]*)["']""")
_ELEMENT = re.compile(rb"<([A-Za-z_][\w.-]*)")
_BYTE_ORDER_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_HEAD_BYTES = 1 << 16
_SUGGESTION = "correct the file, or write it again as UTF-8 XML"


def element_name(head: bytes) -> str | None:
    """The name of the first element in the first bytes of a file; None where it is not XML."""
    plain = head.replace(b"\0", b"") if head[:2] in _BYTE_ORDER_MARKS else head
    if not plain.removeprefix(codecs.BOM_UTF8).lstrip(b" \t\r\n\xff\xfe").startswith(b"<"):
        return None
    match = _ELEMENT.search(plain)
    return match[1].decode() if match else None


def read_xml(path: Path, root_name: str, code: str, max_bytes: int = MAX_LABEL_BYTES) -> ElementTree.Element:
    """The root element of an XML file.

    Args:
        path: the file; in UTF-8 or 16, or in the encoding that it declares.
        root_name: what its root element must be called.
        code: of the issue where it cannot be read.
        max_bytes: the largest file that is read.

    Raises:
        IssueError: of that code; ``xml-entity``; ``label-syntax``: it is not XML, or another element.
    """
    if not is_file(path):
        raise IssueError(make_issue(code, path, "must be a file that can be read", _SUGGESTION))
    try:
        with path.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except OSError as error:
        message = f"must be a file that can be read: {error.strerror}"
        raise IssueError(make_issue(code, path, message, _SUGGESTION)) from None
    return parse_xml(_decode(data, path, code, max_bytes), path, root_name)


def parse_xml(text: str, path: Path, root_name: str) -> ElementTree.Element:
    """The root element of a text.

    Raises:
        IssueError: ``xml-entity``; ``label-syntax``.
    """
    if _FORBIDDEN.search(text):  # before parsing: entities can grow without bound, or name other files
        message = "must be XML without <!DOCTYPE and <!ENTITY"
        raise IssueError(make_issue("xml-entity", path, message, "remove the document type and the entities"))
    try:
        tree = ElementTree.fromstring(_DECLARATION.sub("", text, count=1))  # noqa: S314  no entities, bounded length
    except ElementTree.ParseError as error:
        where = f"{path}:{error.position[0]}"
        message = f"must be XML: {str(error).partition(':')[0]}"
        raise IssueError(make_issue("label-syntax", where, message, _SUGGESTION)) from None
    if tree.tag != root_name:
        message = f"must hold an <{root_name}>, holds {shown(tree.tag)}"
        raise IssueError(make_issue("label-syntax", path, message, _SUGGESTION))
    return tree


def _decode(data: bytes, path: Path, code: str, max_bytes: int) -> str:
    declared = _BYTE_ORDER_MARKS.get(data[:2]) or _declared(data)
    if declared in (None, "utf-8", "ascii") or len(data) > max_bytes:
        return decode_text(data, path, code, max_bytes)
    try:
        return data.decode(declared or "utf-8")
    except (UnicodeError, LookupError):
        message = f"must be text in the encoding that it declares, {declared}, holds other bytes"
        raise IssueError(make_issue(code, path, message, _SUGGESTION)) from None


def _declared(data: bytes) -> str | None:
    match = _ENCODING.match(data.removeprefix(codecs.BOM_UTF8).lstrip())
    if match is None:
        return None
    try:
        codec = codecs.lookup(match[1].decode())
    except LookupError:
        return match[1].decode()
    return codec.name if codec._is_text_encoding else "utf-8"


def iter_elements(path: Path, root_name: str, tags: Collection[str]) -> Iterator[ElementTree.Element]:
    """The elements of some names in a large XML file, one at a time.

    Raises:
        IssueError: ``file-unreadable``, ``xml-entity`` or ``file-syntax``.
    """
    if not is_file(path):
        raise IssueError(make_issue("file-unreadable", path, "must be a file that can be read", _SUGGESTION))
    try:
        with path.open("rb") as stream:
            _check_head(stream.read(_HEAD_BYTES), path, root_name)
            stream.seek(0)
            yield from _walk(stream, tags)
    except OSError as error:
        message = f"must be a file that can be read: {error.strerror}"
        raise IssueError(make_issue("file-unreadable", path, message, _SUGGESTION)) from None
    except ElementTree.ParseError as error:
        where = f"{path}:{error.position[0]}"
        message = f"must be XML: {str(error).partition(':')[0]}"
        raise IssueError(make_issue("file-syntax", where, message, _SUGGESTION)) from None
    except (LookupError, ValueError) as error:  # an encoding that expat does not know
        message = f"must be text in the encoding that it declares: {error}"
        raise IssueError(make_issue("file-unreadable", path, message, _SUGGESTION)) from None


def _check_head(head: bytes, path: Path, root_name: str) -> None:
    """A document type can only stand before the first element."""
    plain = head.replace(b"\0", b"").decode("latin-1")
    if _FORBIDDEN.search(plain):
        message = "must be XML without <!DOCTYPE and <!ENTITY"
        raise IssueError(make_issue("xml-entity", path, message, "remove the document type and the entities"))
    if (name := element_name(head)) != root_name:
        message = f"must hold an <{root_name}>, holds {shown(name)}"
        raise IssueError(make_issue("file-syntax", path, message, _SUGGESTION))


def _walk(stream: IO[bytes], tags: Collection[str]) -> Iterator[ElementTree.Element]:
    root: ElementTree.Element | None = None
    for event, element in ElementTree.iterparse(stream, ("start", "end")):  # noqa: S314  no entities
        root = element if root is None else root
        if event == "end" and element.tag in tags:
            yield element
            root.clear()
