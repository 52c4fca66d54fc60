"""Changes of the picture for any environment, on batches of frames, each at severities from 1 to 5.

What a camera may suffer, and what a scene may look like: backgrounds, colours, light, blur, noise, things that pass by.
``evaluate`` and ``explain`` know them as conditions such as ``"noise:3"``, and a shield is trained on some of them. One
of your own is one file:

    @CORRUPTIONS.register("negative")
    class Negative(Corruption):
        levels = (0.2, 0.4, 0.6, 0.8, 1.0)

        def apply(self, frames, drawn):
            return torch.lerp(frames.pixels, 255.0 - frames.pixels, frames.strength)
"""

from foveal.corruptions.base import (
    CORRUPTIONS,
    SEVERITIES,
    Corruption,
    CorruptionOptions,
    Drawn,
    Frames,
    corrupted,
)

__all__ = ["CORRUPTIONS", "SEVERITIES", "Corruption", "CorruptionOptions", "Drawn", "Frames", "corrupted"]
