"""The shield: a small network before a finished policy, which gives it the picture that it knows.

It learns from frames of the trained look alone, changed by some of ``foveal.corruptions``, to give them back as they
were, to tell the task from its surroundings, and to say when it fails. No policy is trained for it.
"""

from foveal.shield.config import ShieldConfig
from foveal.shield.labels import camera_frames
from foveal.shield.shield import Shield
from foveal.shield.shielded import Shielded
from foveal.shield.training import train_shield
from foveal.shield.wrapping import Restored, ShieldedObservations

__all__ = ["Restored", "Shield", "ShieldConfig", "Shielded", "ShieldedObservations", "camera_frames", "train_shield"]
