"""A picture of what a shield can't do: frames as they came, as they were given, and whether it knew.

python benchmarks/shield_failures.py pretrained:walker-stand --out docs/images/shield-failures.png
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import foveal
from foveal.fovea.frames import FrameSet
from foveal.shield.measures import changed, corruption_for
from foveal.training.looking import collect

SIDE, GAP, TEXT = 180, 10, 34
INK, PAPER, ALARM = (24, 26, 30), (253, 253, 250), (176, 42, 30)
FRAME = 7
"""Which of some fresh frames is shown."""


@dataclass(frozen=True)
class Options:
    """What is drawn.

    Attributes:
        shield: a shield's folder or pretrained:NAME.
        seed: of the frames.
        out: the picture.
    """

    shield: tyro.conf.Positional[str]
    seed: int = 7
    out: Path = Path("shield-failures.png")


def turned(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """By a camera that was turned about its axis."""
    return np.asarray(Image.fromarray(frame).rotate(25, Image.Resampling.BILINEAR))


def nearer(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """By a camera that was moved towards the scene."""
    size = len(frame)
    edge = size // 6
    return np.asarray(Image.fromarray(frame[edge:-edge, edge:-edge]).resize((size, size), Image.Resampling.BILINEAR))


def ball(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """With a thing beside the task that was never seen."""
    picture = Image.fromarray(frame)
    size = len(frame)
    ImageDraw.Draw(picture).ellipse((size * 0.68, size * 0.55, size * 0.93, size * 0.8), (190, 40, 50))
    return np.asarray(picture)


def under(name: str, severity: int, shield: foveal.Shield, frame: FrameSet) -> NDArray[np.uint8]:
    """One frame under a corruption."""
    (shown, _, _) = next(changed(frame, corruption_for(shield, name), severity))
    return shown[0].permute(1, 2, 0).numpy()


def main() -> None:
    """Draw."""
    options = tyro.cli(Options)
    shield = foveal.Shield.load(options.shield)
    looks = {"image_size": shield.image_size, "frame_stack": 1, "quality": "draft"}
    fresh = collect(shield.env_id, looks, 60, options.seed)
    chosen = FrameSet(*(part[FRAME : FRAME + 1] for part in (fresh.pixels, fresh.masks, fresh.episodes)))
    frame = chosen.pixels[0].permute(1, 2, 0).numpy()
    shown = {
        "the trained look": frame,
        "a camera that was turned": turned(frame),
        "a camera that was moved": nearer(frame),
        "a thing never seen": ball(frame),
        "colours turned around": under("hue", 5, shield, chosen),
    }
    restored = shield.restore(np.stack([one.transpose(2, 0, 1) for one in shown.values()]))
    canvas = Image.new("RGB", (len(shown) * (SIDE + GAP) + GAP, 2 * SIDE + 3 * GAP + 2 * TEXT), PAPER)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for number, (words, came) in enumerate(shown.items()):
        x = GAP + number * (SIDE + GAP)
        draw.text((x, GAP), words, INK, font)
        doubt = float(restored.doubt[number])
        for row, image in enumerate((came, restored.frames[number].transpose(1, 2, 0))):
            place = (x, TEXT + row * (SIDE + GAP))
            canvas.paste(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.NEAREST), place)
        alarm = doubt > shield.limit
        words = f"doubt {doubt:.1f}, {'alarm' if alarm else 'no alarm'} (limit {shield.limit:.1f})"
        draw.text((x, TEXT + 2 * SIDE + GAP + 6), words, ALARM if alarm else INK, font)
    canvas.save(options.out)
    print(options.out)


if __name__ == "__main__":
    main()
