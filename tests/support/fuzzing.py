"""Mutants of valid files, and readers that may raise nothing but errors of the package whatever they read."""

from __future__ import annotations

import hashlib
import re
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from yolo9000.errors import YoloError

CORPUS = Path(__file__).parents[1] / "corpus"
"""``TARGET/HASH/FILE``: files that once broke a reader, in place of those of the target's seed."""

MAX_MESSAGE = 2000  # characters
MAX_SECONDS = 10.0  # of CPU time for a mutant
MAX_SEED_BYTES = 200_000

PIECES = (
    *(
        b"\0",
        b"\xff",
        b"\n",
        b"\r",
        b"\t",
        b" ",
        b'"',
        b"'",
        b",",
        b";",
        b":",
        b"=",
        b"#",
        b"<",
        b">",
        b"&",
        b"\\u0000",
    ),
    *(b"[" * 2000, b"{" * 50, b"]", b"}", b"- ", b"{}", b"[]", b"null", b"true", b"nan", b"inf", b"-inf", b"1e999"),
    *(
        b"-1",
        b"0",
        b"9" * 25,
        b"9" * 400,
        b"9" * 5000,
        b"0x7fffffff",
        b"2024-13-45",
        b"1_000",
        b"1e-400",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
    ),
    *(
        b"../../x",
        b"/dev/zero",
        b"C:\\x",
        b"a" * 300,
        b"\xf0\x9f\x90\x88",
        b"\x7f\xff\xff\xff",
        b"\xff" * 8,
        b"\x1b[2J",
        b"&a ",
        b"*a",
    ),
)
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")


def mutant(data: bytes, rng: np.random.Generator) -> bytes:
    """The data with one to three changes: bytes, pieces, numbers and lines replaced, repeated, moved or lost."""
    for _ in range(rng.integers(1, 4)):
        data = CHANGES[rng.integers(len(CHANGES))](data, rng)
    return data


def _flip_a_bit(data: bytes, rng: np.random.Generator) -> bytes:
    if not data:
        return data
    at = int(rng.integers(len(data)))
    return data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :]


def _put_a_piece(data: bytes, rng: np.random.Generator) -> bytes:
    at, lost = int(rng.integers(len(data) + 1)), int(rng.integers(5))
    return data[:at] + PIECES[rng.integers(len(PIECES))] + data[at + lost :]


def _change_a_number(data: bytes, rng: np.random.Generator) -> bytes:
    matches = list(NUMBER.finditer(data[:MAX_SEED_BYTES]))
    if not matches:
        return _put_a_piece(data, rng)
    match = matches[rng.integers(len(matches))]
    return data[: match.start()] + PIECES[rng.integers(len(PIECES))] + data[match.end() :]


def _change_a_line(data: bytes, rng: np.random.Generator) -> bytes:
    lines = data.splitlines(keepends=True)
    if len(lines) < 2:
        return _repeat_a_stretch(data, rng)
    one, other = (int(at) for at in rng.integers(len(lines), size=2))
    match rng.integers(3):
        case 0:
            del lines[one]
        case 1:
            lines.insert(one, lines[other])
        case _:
            lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def _repeat_a_stretch(data: bytes, rng: np.random.Generator) -> bytes:
    at, length = int(rng.integers(len(data) + 1)), int(rng.integers(1, 64))
    return data[:at] + data[at : at + length] * int(rng.integers(2, 5)) + data[at + length :]


def _lose_a_stretch(data: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(data) + 1))
    return data[:at] + (b"" if rng.random() < 0.2 else data[at + int(rng.integers(1, 64)) :])


CHANGES = (_flip_a_bit, _flip_a_bit, _put_a_piece, _change_a_number, _change_a_line, _repeat_a_stretch, _lose_a_stretch)


def _one_file(path: Path) -> list[Path]:
    return [path]


def _as_it_is(data: bytes) -> bytes:
    return data


@dataclass(frozen=True)
class Target:
    """A reader and what it reads.

    Attributes:
        name: of the target.
        write: makes the seed in a folder; what the reader is pointed at.
        read: reads that; only `YoloError` may come out.
        files: of the seed, which of it are mutated.
        finish: applied to each mutant, such as a digest that lets it through to the reader.
    """

    name: str
    write: Callable[[Path], Path]
    read: Callable[[Path], object]
    files: Callable[[Path], Sequence[Path]] = _one_file
    finish: Callable[[bytes], bytes] = _as_it_is

    @property
    def corpus(self) -> Path:
        """The folder of its corpus."""
        return CORPUS / re.sub(r"\W+", "-", self.name)


@dataclass
class Outcome:
    """The result of a target's mutants.

    Attributes:
        mutants, accepted: numbers of mutants, and of those that were read without an error.
        slowest: CPU seconds of the slowest.
        failures: what each broke, by the file of the corpus that holds it.
    """

    mutants: int = 0
    accepted: int = 0
    slowest: float = 0.0
    failures: dict[Path, str] = field(default_factory=dict)


class Hang(BaseException):
    """A mutant took too long; no `except Exception` can swallow it."""


def fuzz(target: Target, folder: Path, rng: np.random.Generator, keep: Path, more: Callable[[int], bool]) -> Outcome:
    """Read mutants of a target's seed.

    Args:
        target: the target.
        folder: for the seed; new or empty.
        rng: chooses the mutants.
        keep: where a mutant that breaks the reader is kept; see `CORPUS`.
        more: given the number of mutants so far, whether to go on.
    """
    outcome, pointed = Outcome(), target.write(folder)
    seeds = {file: file.read_bytes() for file in target.files(pointed)}
    files = list(seeds)
    while more(outcome.mutants):
        file = files[rng.integers(len(files))]
        data = target.finish(mutant(seeds[file], rng))
        file.write_bytes(data)
        problem, seconds, accepted = attempt(target, pointed)
        outcome.mutants += 1
        outcome.accepted += accepted
        outcome.slowest = max(outcome.slowest, seconds)
        if problem:
            kept = keep / hashlib.sha256(data).hexdigest()[:8] / file.relative_to(folder)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(data)
            outcome.failures[kept] = problem
        file.write_bytes(seeds[file])
    return outcome


def attempt(target: Target, pointed: Path) -> tuple[str, float, bool]:
    """What is wrong with how a target reads, or nothing; the CPU seconds that it took; whether it was accepted."""
    started, problem, accepted = time.process_time(), "", False
    try:
        with _time_limit(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target.read(pointed)
        accepted = True
    except YoloError as error:
        problem = _issue_of(str(error))
    except Hang:
        problem = f"took more than {MAX_SECONDS:g} s"
    except Exception as error:  # what the fuzzer is for
        problem = f"{type(error).__name__}: {str(error)[:200]}"
    return problem, time.process_time() - started, accepted


def _issue_of(message: str) -> str:
    if len(message) > MAX_MESSAGE:
        return f"a message of {len(message):,} characters: {message[:100]}"
    return f"a message of several lines: {message[:200]!r}" if "\n" in message or "\r" in message else ""


@contextmanager
def _time_limit() -> Iterator[None]:
    """CPU time, so that it does not depend on what else the machine does; not on Windows, which has no such timer."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def end(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def replay(target: Target, entry: Path, folder: Path) -> str:
    """What is wrong with how a target reads an entry of its corpus, or nothing."""
    pointed = target.write(folder)
    shutil.copytree(entry, folder, dirs_exist_ok=True)
    return attempt(target, pointed)[0]
