"""Whole numbers in text of unknown origin: Python refuses more than 4,300 digits with a `ValueError`."""

from __future__ import annotations

import re

__all__ = ["whole_number"]

_DIGITS = re.compile(r"[0-9]{1,18}")


def whole_number(text: str) -> int | None:
    """The number that up to 18 decimal digits are; None for any other text.

    >>> whole_number("007"), whole_number("-1"), whole_number("9" * 5000)
    (7, None, None)
    """
    return int(text) if _DIGITS.fullmatch(text) else None
