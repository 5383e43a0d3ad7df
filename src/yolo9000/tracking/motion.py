"""Where a track's box will be: a Kalman filter of constant velocity.

Center x, center y, width and height each move on their own, so that the filter of eight states is four of two, position
and velocity, whose covariance has three values. The noise is that of ByteTrack and BoT-SORT, a fraction of the box's
size per frame of 1/30 s.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

__all__ = ["FRAME_SECONDS", "Motion"]

FRAME_SECONDS = 1 / 30
POSITION_NOISE, VELOCITY_NOISE = 1 / 20, 1 / 160


class Motion:
    """The estimated box of one object, and its change.

    Attributes:
        position: center x, center y, width, height, in pixels.
        velocity: their change in a frame of 1/30 s.
    """

    def __init__(self, box_xyxy: Float[np.ndarray, " 4"]) -> None:
        self.position = _measured(box_xyxy)
        self.velocity = np.zeros(4)
        size = self._size()
        self._pp, self._pv, self._vv = (
            (2 * POSITION_NOISE * size) ** 2,
            np.zeros(4),
            (10 * VELOCITY_NOISE * size) ** 2,
        )

    def predict(self, seconds: float, *, resizes: bool = True) -> None:
        """Go on by some seconds.

        Args:
            seconds: since the last call.
            resizes: whether the size goes on changing as well; not while the object is lost.
        """
        frames = seconds / FRAME_SECONDS
        if not resizes:
            self.velocity[2:] = 0
        size = self._size()
        self.position = self.position + frames * self.velocity
        self.position[2:] = np.maximum(self.position[2:], 1)
        self._pp = self._pp + 2 * frames * self._pv + frames**2 * self._vv + frames * (POSITION_NOISE * size) ** 2
        self._pv = self._pv + frames * self._vv
        self._vv = self._vv + frames * (VELOCITY_NOISE * size) ** 2

    def update(self, box_xyxy: Float[np.ndarray, " 4"]) -> None:
        """Take in a box that was detected."""
        innovation = _measured(box_xyxy) - self.position
        total = self._pp + (POSITION_NOISE * self._size()) ** 2
        gain, gain_of_velocity = self._pp / total, self._pv / total
        self.position = self.position + gain * innovation
        self.velocity = self.velocity + gain_of_velocity * innovation
        self._vv = self._vv - gain_of_velocity * self._pv
        self._pp, self._pv = (1 - gain) * self._pp, (1 - gain) * self._pv

    def box_xyxy(self) -> Float[np.ndarray, " 4"]:
        """The estimated box: left, top, right, bottom in pixels."""
        center, half = self.position[:2], np.maximum(self.position[2:], 1) / 2
        return np.concatenate([center - half, center + half])

    def _size(self) -> Float[np.ndarray, " 4"]:
        return np.asarray(np.maximum(np.tile(self.position[2:], 2), 1))


def _measured(box_xyxy: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " 4"]:
    box = box_xyxy.astype(np.float64)
    return np.concatenate([(box[:2] + box[2:]) / 2, box[2:] - box[:2]])
