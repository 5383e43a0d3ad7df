"""Draw the images that the page offers to try, and that its documents show: a street and a table.

python scripts/draw_samples.py src/yolo9000/serve/page/samples
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 640, 480
FINER = 3  # times larger it is drawn, for smooth edges
Color = tuple[int, int, int]


class Drawing:
    """An image in coordinates of the final image, on a background that goes from one color to another."""

    def __init__(self, top: Color, bottom: Color) -> None:
        ramp = np.linspace(np.array(top), np.array(bottom), HEIGHT * FINER).astype(np.uint8)
        self.image = Image.fromarray(np.repeat(ramp[:, None], WIDTH * FINER, axis=1))
        self.pen = ImageDraw.Draw(self.image)

    def rectangle(self, box: tuple[float, ...], color: Color, radius: float = 0) -> None:
        self.pen.rounded_rectangle([FINER * side for side in box], FINER * radius, fill=color)

    def disc(self, x: float, y: float, radius: float, color: Color) -> None:
        self.pen.ellipse([FINER * side for side in (x - radius, y - radius, x + radius, y + radius)], fill=color)

    def octagon(self, x: float, y: float, radius: float, color: Color) -> None:
        angles = np.pi / 8 + np.pi / 4 * np.arange(8)
        points = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)
        self.pen.polygon([tuple(point) for point in FINER * points], fill=color)

    def ball(self, x: float, y: float, radius: float, color: Color) -> None:
        """A disc that is brighter at the upper left."""
        for part in np.linspace(1, 0, 60):
            shift = 1 - part
            shaded = tuple(int(min(255, value * (1.1 - 0.45 * part))) for value in color)
            self.disc(x - 0.25 * radius * shift, y - 0.3 * radius * shift, part * radius, shaded)

    def finished(self) -> Image.Image:
        """The image with a little noise, as a camera has."""
        small = np.asarray(self.image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))
        noisy = small + np.random.default_rng(0).normal(0, 3, (HEIGHT, WIDTH, 1))
        return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def street() -> Image.Image:
    drawing = Drawing((150, 190, 230), (225, 235, 240))
    drawing.rectangle((0, 250, WIDTH, 320), (120, 150, 95))
    drawing.rectangle((0, 318, WIDTH, 345), (185, 182, 175))
    drawing.rectangle((0, 345, WIDTH, HEIGHT), (110, 112, 116))
    stop_sign(drawing, 170, 160, 75)
    traffic_light(drawing, 470, 150, 62)
    return drawing.finished()


def stop_sign(drawing: Drawing, x: float, y: float, radius: float) -> None:
    drawing.rectangle((x - 5, y, x + 5, y + 3.2 * radius), (130, 130, 135))
    drawing.octagon(x, y, radius, (250, 250, 250))
    drawing.octagon(x, y, 0.93 * radius, (190, 25, 35))
    white, size = (255, 255, 255), 0.62 * radius * FINER
    drawing.pen.text((x * FINER, y * FINER), "STOP", white, anchor="mm", font_size=size, stroke_width=FINER)


def traffic_light(drawing: Drawing, x: float, y: float, width: float) -> None:
    height = 2.7 * width
    drawing.rectangle((x - 6, y, x + 6, HEIGHT), (60, 60, 62))
    drawing.rectangle((x - width / 2, y - height / 2, x + width / 2, y + height / 2), (28, 30, 30), 0.2 * width)
    for row, color in enumerate(((235, 40, 35), (70, 60, 20), (20, 60, 35))):
        drawing.disc(x, y - height / 2 + width * (0.5 + 0.85 * row), 0.33 * width, color)


def table() -> Image.Image:
    drawing = Drawing((190, 200, 205), (215, 218, 215))
    drawing.rectangle((0, 250, WIDTH, HEIGHT), (150, 105, 65))
    drawing.ball(180, 290, 80, (240, 140, 30))
    drawing.ball(330, 320, 75, (240, 140, 30))
    drawing.ball(490, 310, 70, (215, 240, 60))
    return drawing.finished()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for draw in (street, table):
        draw().save(folder / f"{draw.__name__}.jpg", quality=85)


if __name__ == "__main__":
    main()
