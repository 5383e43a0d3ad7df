"""How large images are cut into tiles."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from yolo9000.errors import ConfigError, wrong_values

__all__ = ["TileSettings"]


class TileSettings(BaseModel):
    """How an image is cut into tiles.

    Attributes:
        tiles: width and height of a tile in pixels of the image.
        overlap: minimum fraction of a tile that the next one shows again; objects up to this size are never cut.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tiles: int = Field(
        default=640, ge=32, description="For large images: cut them into tiles of this width and height in pixels [off]"
    )
    overlap: float = Field(
        default=0.2, ge=0.05, le=0.5, description="Minimum fraction of a tile that the next one shows again"
    )

    @classmethod
    def checked(cls, **values: object) -> TileSettings:
        """Make settings from values of a user.

        Raises:
            ConfigError: a value is out of its range.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            argument, problem = wrong_values(error)[0]
            raise ConfigError(problem, argument=argument) from None
