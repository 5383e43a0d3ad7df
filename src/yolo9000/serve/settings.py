"""What a service may be set to: where it listens, and the limits that every request meets."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["LOOPBACK_HOSTS", "ServeSettings"]

LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")
MIB = 1 << 20


class ServeSettings(BaseModel):
    """The settings of a service; each is an option of ``yolo9000 serve``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", description="Address to listen at; 0.0.0.0 for every network")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen at; 0 for a free one")
    max_bytes: int = Field(default=16 * MIB, ge=1, description="Maximum size of a request")
    max_pixels: int = Field(default=32_000_000, ge=1, description="Maximum width x height of an image")
    max_images: int = Field(default=16, ge=1, description="Maximum number of images in a request")
    queue_size: int = Field(
        default=64, ge=1, description="Maximum number of images in the service; a request for more is answered 503"
    )
    buffer_bytes: int = Field(
        default=256 * MIB, ge=1, description="Maximum size of all requests in the service; more are answered 503"
    )
    max_connections: int = Field(default=256, ge=1, description="Maximum number of connections")
    max_batch: int = Field(default=4, ge=1, le=8, description="Maximum number of images run at a time")
    max_wait_ms: float = Field(
        default=5.0, ge=0, description="How long a batch waits for images that are being decoded, in milliseconds"
    )
    receive_seconds: float = Field(default=20.0, gt=0, description="Maximum time to receive a request")
    answer_seconds: float = Field(default=30.0, gt=0, description="Maximum time to answer a request, then 503")
    drain_seconds: float = Field(
        default=2.0, ge=0, description="After SIGTERM: how long new connections are still accepted"
    )
    allowed_hosts: list[str] = Field(
        default=[], description="A Host header to accept; may be repeated [on a loopback address: localhost, else any]"
    )
    cors_origins: list[str] = Field(
        default=[], description="A web site whose pages may call the service; may be repeated [none]"
    )

    @property
    def accepted_hosts(self) -> tuple[str, ...]:
        """The values of the Host header that are accepted, without ports, in lower case; empty for any.

        On a loopback address this keeps web pages from reaching the service by a name of their own (DNS rebinding).
        """
        if self.allowed_hosts or self.host not in LOOPBACK_HOSTS:
            return tuple(host.lower() for host in self.allowed_hosts)
        return LOOPBACK_HOSTS
