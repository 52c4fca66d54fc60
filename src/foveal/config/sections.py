"""The parts of a configuration that no learner or method owns: the environment and the training loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from foveal.config.bounds import DEVICE, PART, SHARE, Anything, Bounded, at_least, one_of
from foveal.envs import games
from foveal.envs.family import QUALITIES
from foveal.errors import FovealError
from foveal.networks.precision import PRECISIONS


@dataclass(frozen=True)
class EnvironmentConfig(Bounded, section="environment"):
    """How the environment shows itself.

    Attributes:
        image_size: side in pixels of what the encoder sees. A method may render larger and crop.
        frame_stack: frames in an observation.
        action_repeat: simulator steps per agent step; None for the benchmark's own (finger 2, cartpole 8, other dmc/ 4)
            and 1 for all else.
        quality: of rendering: "exact", "fast" or "draft".
        camera: index of the camera.
        rendered_size: side in pixels of frames until they have been perturbed; then they are averaged to what the
            encoder sees. None for the same. DMC-GB keys its videos into 84.
    """

    image_size: Annotated[int, at_least(1)] = 84
    frame_stack: Annotated[int, at_least(1)] = 3
    action_repeat: Annotated[int | None, at_least(1)] = None
    quality: Annotated[str, one_of(*QUALITIES)] = "exact"
    camera: Annotated[int, at_least(0)] = 0
    rendered_size: Annotated[int | None, at_least(1)] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rendered_size is not None and self.rendered_size < self.image_size:
            raise FovealError(
                f"environment.rendered_size must be at least image_size, which is {self.image_size}, not "
                f"{self.rendered_size}"
            )


@dataclass(frozen=True)
class GameConfig(Bounded, section="environment"):
    """How an Atari game shows itself, beside what the protocol fixes.

    Attributes:
        life_loss: a lost life ends an episode, though not the game.
        clip_rewards: training has the rewards' signs in place of their points. Scores are unclipped whatever this says.
        protocol: whose sticky actions and limit of frames there are: "v4" (none, and 400,000 frames; 300,000 in Space
            Invaders) or "v5" (0.25, and 108,000 frames).
        sticky: probability, in every frame of the emulator, that the action before is carried out again; None for the
            protocol's.
        frame_limit: frames of the emulator after which a game is cut off; None for the protocol's.
    """

    life_loss: bool = True
    clip_rewards: bool = True
    protocol: Annotated[str, one_of(*games.PROTOCOLS)] = "v4"
    sticky: Annotated[float | None, PART] = None
    frame_limit: Annotated[int | None, at_least(1)] = None

    @property
    def frame_stack(self) -> int:
        """Frames in an observation, by the protocol."""
        return games.OBSERVED[0]

    @property
    def image_size(self) -> int:
        """Side in pixels of what the encoder sees, by the protocol."""
        return games.OBSERVED[1]


@dataclass(frozen=True)
class RolloutTrainingConfig(Bounded, section="training"):
    """What every training loop has, and all of it where a learner learns from what its policy just did.

    Attributes:
        environments: how many are stepped side by side.
        processes: step every environment in a process of its own. A resumed run then begins new episodes.
        precision: of convolutions: "auto" (bfloat16 where the hardware has it), "float32" or "bfloat16".
        device: "auto", "cpu", "cuda".
    """

    environments: Annotated[int, at_least(1)] = 1
    processes: bool = False
    precision: Annotated[str, one_of(*PRECISIONS)] = "auto"
    device: Annotated[str, DEVICE] = "auto"


REPLAY_DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class TrainingConfig(RolloutTrainingConfig):
    """The training loop of a learner that learns from replay. The defaults are DMC-GB's.

    Attributes:
        environments: how many are stepped in turn.
        processes: step every environment in a process of its own, while updates run. Actions are then chosen before the
            updates that their step earns, not after, and a resumed run begins new episodes.
        precision: of convolutions: "auto" (bfloat16 where the hardware has it), "float32" or "bfloat16".
        device: "auto", "cpu", "cuda".
        batch_size: transitions per update.
        discount: gamma, per agent step.
        n_step: rewards summed before bootstrapping.
        replay_capacity: frames kept.
        initial_random_steps: agent steps with random actions before the first update.
        catch_up_updates: extra updates taken at once when the random phase ends.
        updates_per_step: gradient updates per agent step.
        plain_updates: updates before the method's own views, losses and steps begin. Until then the learner learns from
            what the method makes of each batch, such as SGQN's random shift, alone: a quick start, and robustness
            after it (after Ko and Ok, "Efficient scheduling of data augmentation for deep reinforcement learning",
            NeurIPS 2022).
        overlays: pictures for overlay augmentations: "generated", or a folder of images such as Places365.
        overlay_count: how many of them are kept in memory; every sample is a new random crop of one. At 84 pixels,
            20,000 take 0.9 GiB.
        overlay_refresh: how many more are drawn per update: first until so many are kept, then to replace the oldest.
        overlay_detail: side of the kept pictures over the image's, at least 1: crops of less than 1 / detail**2 of a
            picture are blurrier than those of the file.
        replay_device: where frames are stored: "auto" (the device that trains, if they fit), "cpu" or "cuda".
        cuda_graphs: on a GPU, record updates once and replay them; methods that can't be recorded run as they are.
    """

    batch_size: Annotated[int, at_least(1)] = 128
    discount: Annotated[float, SHARE] = 0.99
    n_step: Annotated[int, at_least(1)] = 1
    replay_capacity: Annotated[int, at_least(1)] = 500_000
    initial_random_steps: Annotated[int, at_least(0)] = 1000
    catch_up_updates: Annotated[int, at_least(0)] = 1000
    updates_per_step: Annotated[float, at_least(0)] = 1.0
    plain_updates: Annotated[int, at_least(0)] = 0
    overlays: Annotated[str, Anything("a folder of the user's, which is looked for when training begins")] = "generated"
    overlay_count: Annotated[int, at_least(1)] = 20_000
    overlay_refresh: Annotated[float, at_least(0)] = 0.5
    overlay_detail: Annotated[float, at_least(1)] = 1.5
    replay_device: Annotated[str, one_of(*REPLAY_DEVICES)] = "auto"
    cuda_graphs: bool = True
