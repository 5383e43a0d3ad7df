"""Requests that cannot be answered: one line each, as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from pydantic import BaseModel, Field
from starlette.responses import Response

__all__ = ["Problem", "ProblemResponse", "Refused"]


class Problem(BaseModel):
    """Why a request was not answered."""

    type: str = Field(default="about:blank", description="Always about:blank: the status says what kind it is")
    title: str = Field(description="The status in words")
    status: int
    detail: str = Field(description="One line: what must hold and what was received")
    argument: str | None = Field(default=None, description="The parameter of the query that is wrong")
    image: int | None = Field(default=None, description="0-based index of the image that cannot be read")
    request_id: str | None = Field(default=None, description="As in the header X-Request-ID and in the log")


class Refused(Exception):  # noqa: N818  it is an answer, not a failure
    """A request that is not answered with detections.

    Attributes:
        status: of HTTP.
        detail: one line.
        argument: the parameter of the query that is wrong.
        image: 0-based index of the image that cannot be read.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        argument: str | None = None,
        image: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.argument = argument
        self.image = image
        self.headers = headers

    @classmethod
    def busy(cls, detail: str, seconds: float = 1.0) -> Refused:
        """503: nothing is wrong with the request, it may be repeated after some seconds."""
        return cls(503, detail, headers={"Retry-After": str(max(1, round(seconds)))})

    @classmethod
    def too_large(cls, max_bytes: int) -> Refused:
        """413: the request has too many bytes."""
        return cls(413, f"a request must be at most {max_bytes:,} bytes")


class ProblemResponse(Response):
    """The answer to a request that was refused."""

    media_type = "application/problem+json"

    def __init__(self, refused: Refused, request_id: str | None) -> None:
        problem = Problem(
            title=HTTPStatus(refused.status).phrase,
            status=refused.status,
            detail=refused.detail,
            argument=refused.argument,
            image=refused.image,
            request_id=request_id,
        )
        content = json.dumps(problem.model_dump())
        super().__init__(content, refused.status, headers=dict(refused.headers or {}))
