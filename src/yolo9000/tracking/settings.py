"""What counts as a track."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from yolo9000.errors import ConfigError, wrong_values

__all__ = ["TrackingSettings"]


class TrackingSettings(BaseModel):
    """What counts as a track.

    Attributes:
        start_score: minimum objectness of a detection that begins a track or finds a lost one again; fainter ones, down
            to the confidence threshold, only continue a track (ByteTrack).
        min_iou: minimum IoU of a detection with the position that is predicted for a track.
        min_frames: number of frames in a row in which an object must be detected to become a track.
        max_lost: seconds that a track goes on without detections.
        max_away: seconds in which an object that left, and looks the same when it returns, gets its id back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    start_score: float = Field(default=0.4, gt=0, le=1, description="Minimum objectness that begins a track")
    min_iou: float = Field(default=0.1, gt=0, lt=1, description="Minimum IoU with a track's predicted position")
    min_frames: int = Field(default=2, ge=1, description="Detections in a row that make a track")
    max_lost: float = Field(default=1.0, ge=0, description="Seconds that a track goes on without detections")
    max_away: float = Field(
        default=10.0, ge=0, description="Seconds in which an object that returns and looks the same keeps its id"
    )

    @classmethod
    def checked(cls, **values: object) -> TrackingSettings:
        """Make settings from values of a user.

        Raises:
            ConfigError: a value is out of its range, or its name is unknown.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            argument, problem = wrong_values(error)[0]
            raise ConfigError(problem, argument=argument) from None
