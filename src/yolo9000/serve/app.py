"""The application of a service: its routes, for any ASGI server; `yolo9000.serve.server` runs it."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from yolo9000 import __version__
from yolo9000.errors import YoloError, wrong_values
from yolo9000.inference.settings import suggest_setting
from yolo9000.io.pages import DESIGN, template_text
from yolo9000.serve.detection import Detection
from yolo9000.serve.gate import Gate
from yolo9000.serve.metrics import Metrics
from yolo9000.serve.models import Models
from yolo9000.serve.problems import Problem, ProblemResponse, Refused
from yolo9000.serve.schemas import EXAMPLE_ANSWER, DetectAnswer, DetectQuery, LabelTree, ModelDescription
from yolo9000.serve.settings import ServeSettings
from yolo9000.serve.uploads import Buffer, receive_body, uploads_in

__all__ = ["Service"]

PAGE = Path(__file__).parent / "page"
mimetypes.add_type("text/javascript", ".js")  # Windows may say that it is plain text, which no browser runs
BINARY = {"type": "string", "format": "binary"}
IMAGES = {"type": "object", "properties": {"images": {"type": "array", "items": BINARY}}}
REQUEST_BODY = {
    "required": True,
    "description": "One image as it is (JPEG, PNG, WebP, BMP, TIFF, GIF), or several as files of a form",
    "content": {
        "image/*": {"schema": BINARY},
        "application/octet-stream": {"schema": BINARY},
        "multipart/form-data": {"schema": IMAGES},
    },
}
PROBLEM = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
REFUSALS = {
    400: "The request is malformed",
    401: "The token is missing or wrong",
    404: "No such model",
    408: "The request did not arrive in time",
    413: "The request is too large, or has too many images",
    422: "A parameter is wrong, or an image cannot be read",
    503: "The service is busy; Retry-After says when to try again",
}


class Service:
    """A detector behind HTTP.

    Attributes:
        app: the application of ASGI.
        gate: what every request passes.
        models: by name.
        metrics: what is counted.
    """

    def __init__(self, models: Models, settings: ServeSettings, metrics: Metrics, *, token: str | None = None) -> None:
        self.models = models
        self.metrics = metrics
        self._settings = settings
        self._detection = Detection(models, settings, metrics)
        self._buffer = Buffer(settings.buffer_bytes)
        self.gate = Gate(self._routes(), metrics, token, settings.accepted_hosts)
        self.app: Any = self.gate
        if settings.cors_origins:
            allowed = ["Authorization", "Content-Type", "X-Request-ID"]
            self.app = CORSMiddleware(
                self.gate, settings.cors_origins, allow_methods=["GET", "POST"], allow_headers=allowed
            )

    def _routes(self) -> FastAPI:
        app = FastAPI(
            title="yolo9000",
            version=__version__,
            summary="Object detection with answers from general to specific",
            lifespan=self._lifespan,
            docs_url=None,  # these pages load scripts from elsewhere
            redoc_url=None,
        )
        refusals: dict[int | str, dict[str, Any]] = {
            status: {"description": text, "model": Problem, **PROBLEM} for status, text in REFUSALS.items()
        }
        app.post(
            "/v1/detect",
            responses={200: {"model": DetectAnswer}, **refusals},
            openapi_extra={"requestBody": REQUEST_BODY},
            summary="Detect in one or several images",
        )(self.detect)
        known: dict[int | str, dict[str, Any]] = {status: refusals[status] for status in (401, 404)}
        app.get("/v1/model", responses=known, summary="A model and how it is set")(self.model)
        app.get("/v1/tree", responses={200: {"model": LabelTree}, **known}, summary="The labels of a model")(self.tree)
        app.get("/healthz", summary="Whether the process runs")(self.health)
        app.get("/readyz", responses={503: refusals[503]}, summary="Whether it accepts requests")(self.ready)
        app.get("/metrics", summary="Metrics for Prometheus")(self.report_metrics)
        app.get(f"/{DESIGN}", include_in_schema=False)(self.design)
        app.mount("/", StaticFiles(directory=PAGE, html=True))
        for kind, handler in _HANDLERS.items():
            app.add_exception_handler(kind, handler)
        app.openapi = partial(_described, app)  # type: ignore[method-assign]
        return app

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        yield
        self.close()

    def close(self) -> None:
        """Stop the threads, when every image that was queued has been run."""
        self.models.close()
        self._detection.close()

    async def detect(self, request: Request, query: Annotated[DetectQuery, Query()]) -> Response:
        """Detect in the images of a request; each has the record of `yolo9000 predict --format jsonl`."""
        served = self.models.get(query.model)
        if self._detection.is_full:
            raise Refused.busy("the service is busy")
        with self._buffer.holding() as held:
            body = await receive_body(request, self._settings, held)
            content_type = request.headers.get("content-type", "")
            uploads = await asyncio.to_thread(uploads_in, body, content_type, self._settings.max_images)
            request.state.logged = {"model": served.name, "images": len(uploads), "bytes": len(body)}
            content = await _unless_gone(request, self._detection.answer(uploads, query))
        return Response(content, media_type="application/json")

    async def model(self, model: str | None = None) -> ModelDescription:
        """What a model is, what it is set to, and what requests may hold."""
        return self.models.get(model).description(self.models.names)

    async def tree(self, request: Request, model: str | None = None) -> Response:
        """The labels of a model: the nodes of its tree, or its classes."""
        served = self.models.get(model)
        tag = f'"{served.fingerprint}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        return Response(served.label_tree, media_type="application/json", headers={"ETag": tag})

    async def health(self) -> dict[str, str]:
        """Answers as long as the process runs."""
        return {"status": "ok"}

    async def ready(self) -> dict[str, str]:
        """Answers 503 when the service is about to stop, so that nothing more is sent to it."""
        if self.gate.draining:
            raise Refused.busy("the service is about to stop")
        return {"status": "ready"}

    async def design(self) -> Response:
        """The style sheet that the page shares with the reports."""
        return Response(template_text(DESIGN), media_type="text/css")

    async def report_metrics(self) -> Response:
        """The metrics in Prometheus's text format."""
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with an example; FastAPI would leave its nulls out."""
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        answer = document["paths"]["/v1/detect"]["post"]["responses"]["200"]["content"]["application/json"]
        answer["example"] = EXAMPLE_ANSWER
    return app.openapi_schema or {}


async def _unless_gone(request: Request, work: Any) -> bytes:
    """The result of some work, which is given up when the client goes.

    Raises:
        ClientDisconnect: it has gone.
    """
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return bytes(working.result())
    finally:
        working.cancel()
        gone.cancel()


async def _gone(request: Request, _: Exception) -> Response:
    return Response(status_code=499)


async def _refuse(request: Request, error: Exception) -> Response:
    return ProblemResponse(_refusal(error), str(request.state.request_id))


def _refusal(error: Exception) -> Refused:
    """What an error in a route is to the client."""
    match error:
        case Refused():
            return error
        case RequestValidationError():
            return _wrong_parameter(*wrong_values(error)[0])  # type: ignore[arg-type]  # pydantic's errors
        case HTTPException():
            return Refused(error.status_code, error.detail, headers=error.headers)
        case YoloError():
            return Refused(422, str(error), argument=error.argument)
        case _:
            return Refused(500, "internal error; the log has more")  # which the gate writes


def _wrong_parameter(location: str, problem: str) -> Refused:
    name = location.removeprefix("query.").partition(".")[0]
    if name not in DetectQuery.model_fields:
        problem = f"unknown parameter{suggest_setting(name)}"
    return Refused(422, f"{name}: {problem}", argument=name)


_KINDS = (Refused, RequestValidationError, HTTPException, YoloError, Exception)
_HANDLERS: dict[type[Exception], Any] = {ClientDisconnect: _gone, **dict.fromkeys(_KINDS, _refuse)}
