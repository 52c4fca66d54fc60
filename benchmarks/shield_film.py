"""A film: one policy as it is and behind a shield, over the same pictures that neither ever saw.

    python benchmarks/shield_film.py POLICY SHIELD --out docs/images/shield.gif

Both act in the same environment from the same seed. Above is what comes in, below what the policy is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import foveal
from foveal.envs import make
from foveal.evaluation.world import SEED_OFFSET

SIDE = 200
GAP = 12
TEXT = 22
INK, PAPER, FAINT = (24, 26, 30), (253, 253, 250), (110, 112, 118)


@dataclass(frozen=True)
class Film:
    """What is filmed.

    Attributes:
        policy: a run's folder or pretrained:NAME.
        shield: a shield's folder or pretrained:NAME.
        condition: what is changed; pictures are generated.
        seed: of the episode.
        every: agent steps per picture.
        colours: of the film's palette.
        out: a GIF.
    """

    policy: tyro.conf.Positional[str]
    shield: tyro.conf.Positional[str]
    condition: str = "video_hard"
    seed: int = SEED_OFFSET
    every: int = 3
    colours: int = 64
    out: Path = Path("shield.gif")


Moment = tuple[NDArray[np.uint8], NDArray[np.uint8], float]
"""What came in and what was given, (S, S, 3) each, and the return so far."""


def episode(policy: Any, given: Callable[[Any], Any], film: Film) -> list[Moment]:
    """One episode of a policy; ``given`` is what it acts on of an observation."""
    env = make(policy.env_id, **policy.env_options, perturbation=film.condition)
    observation, _ = env.reset(seed=film.seed)
    moments = [moment(observation, given, 0.0)]
    total, over = 0.0, False
    while not over:
        action = policy.predict(observation, deterministic=True)[0]
        observation, reward, terminated, truncated, _ = env.step(action)
        total, over = total + float(reward), terminated or truncated
        moments.append(moment(observation, given, total))
    env.close()
    return moments


def moment(observation: NDArray[np.uint8], given: Callable[[Any], Any], total: float) -> Moment:
    """The newest frame of an observation, and that of what is given."""
    came, seen = (stack[-3:].transpose(1, 2, 0) for stack in (observation, given(observation)))
    return came, seen, total


def picture(bare: Moment, shielded: Moment, words: tuple[str, str]) -> Image.Image:
    """Both episodes side by side."""
    width, height = 2 * SIDE + 3 * GAP, 2 * (SIDE + TEXT) + 3 * GAP + TEXT
    canvas = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    large, small = (ImageFont.load_default(size) for size in (15, 12))
    for column, (moment, word) in enumerate(zip((bare, shielded), words, strict=True)):
        x, y = GAP + column * (SIDE + GAP), GAP
        draw.text((x, y), word, INK, large)
        draw.text((x + SIDE, y), f"return {moment[2]:.0f}", INK, large, anchor="ra")
        for image, caption in ((moment[0], "what the camera shows"), (moment[1], "what the policy is given")):
            y += TEXT
            canvas.paste(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.NEAREST), (x, y))
            draw.text((x, y + SIDE + 3), caption, FAINT, small)
            y += SIDE + GAP // 2
    return canvas


def main() -> None:
    """Film."""
    film = tyro.cli(Film)
    policy, shield = foveal.load(film.policy), foveal.Shield.load(film.shield)
    shielded = shield.wrap(policy)
    alone = episode(policy, lambda observation: observation, film)
    behind = episode(shielded, shielded.see, film)
    chosen = [*range(0, len(alone) - 1, film.every), len(alone) - 1]
    pictures = [picture(alone[step], behind[step], ("as it is", "behind a shield")) for step in chosen]
    reduced = [one.quantize(film.colours, dither=Image.Dither.NONE) for one in pictures]
    durations = [100] * (len(reduced) - 1) + [2500]
    reduced[0].save(film.out, save_all=True, append_images=reduced[1:], duration=durations, loop=0, optimize=True)
    print(f"{film.out}: {film.out.stat().st_size / 1e6:.1f} MB, returns {alone[-1][2]:.0f} and {behind[-1][2]:.0f}")


if __name__ == "__main__":
    main()
