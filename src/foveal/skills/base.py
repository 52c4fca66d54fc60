"""What every policy of the arm is: observations in, actions out, a folder on the disk, and an ONNX file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foveal import checkpoint
from foveal.envs.ur5e.experts import SKILL_STEPS
from foveal.errors import FovealError
from foveal.evaluation.insides import Insides
from foveal.evaluation.world import WorldOptions
from foveal.export import Exportable, write_onnx
from foveal.skills.minari import in_millimetres
from foveal.skills.view import View
from foveal.skills.world import Acting, ArmWorld
from foveal.training.run_folder import stored


@dataclass(frozen=True)
class Memory:
    """What a policy remembers of an episode from one step to the next.

    Attributes:
        frames: (stack, H, W) ``uint16`` millimetres, the present one last; the first stands for those before it.
        steps: taken before the next one.
        skill: number of the one that acted last.
    """

    frames: NDArray[np.uint16]
    steps: int
    skill: int


class ArmPolicy(ABC):
    """Looks at depth, does one skill at a time, and moves one arm.

    Attributes:
        kind: of its folders.
        seed: of its training, and of draws in ``predict``.
    """

    kind: ClassVar[str]
    seed: int

    @property
    @abstractmethod
    def task(self) -> str:
        """Such as ``"bowl"``; empty where it is not known."""

    @property
    @abstractmethod
    def view(self) -> View:
        """What depth frames show."""

    @property
    @abstractmethod
    def stack(self) -> int:
        """Depth frames that it sees."""

    @property
    def skill_steps(self) -> int:
        """Control steps that a skill runs before the next one is chosen."""
        return SKILL_STEPS

    @property
    def env_id(self) -> str:
        """Id of its task's environment."""
        return f"ur5e/{self.task}"

    def world(self, options: WorldOptions) -> ArmWorld:
        """The simulated arm."""
        return ArmWorld(self.acting(), options)

    @abstractmethod
    def acting(self) -> Acting:
        """How it acts there.

        Raises:
            FovealError: it does not say of which task it is.
        """

    @abstractmethod
    def insides(self) -> Insides:
        """What ``foveal.explain`` may look at.

        Raises:
            FovealError: nothing in it looks at pictures.
        """

    @abstractmethod
    def act(self, frames: NDArray[Any], skill: Any) -> NDArray[np.float32]:
        """Actions, each as its own skill would act.

        Args:
            frames: (B, stack, H, W) millimetres, the present one last.
            skill: (B,) numbers.

        Returns:
            (B, 4) in [-1, 1]: tool velocity along x, y, z; above 0 the gripper closes.
        """

    @abstractmethod
    def next_skill(self, frames: NDArray[Any], decision: int, deterministic: bool) -> int:
        """The skill that comes after so many decisions, (1, stack, H, W) millimetres being seen.

        Raises:
            FovealError: the policy can't tell.
        """

    def predict(
        self,
        observation: Mapping[str, NDArray[Any]],
        state: Memory | None = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], Memory]:
        """The action for one step of one arm.

        Args:
            observation: as of ``foveal.envs.ur5e``, see ``frame``.
            state: what the call before returned; None begins an episode.
            episode_start: True begins an episode too.
            deterministic: take a master's likeliest skill instead of a draw. Skills and flat policies act by their
                mean action in any case.

        Returns:
            (4,) in [-1, 1], and what the next call takes as ``state``.

        Raises:
            FovealError: there is no depth, or it has another size; the policy does not know which skill is next.
        """
        frame = self.frame(observation)
        if state is None or np.any(episode_start):
            memory = Memory(np.repeat(frame[None], self.stack, axis=0), 0, -1)
        else:
            memory = replace(state, frames=np.concatenate([state.frames[1:], frame[None]]))
        frames, skill = memory.frames[None], memory.skill
        if memory.steps % self.skill_steps == 0:
            skill = self.next_skill(frames, memory.steps // self.skill_steps, deterministic)
        return self.act(frames, np.array([skill]))[0], replace(memory, steps=memory.steps + 1, skill=skill)

    def frame(self, observation: Mapping[str, NDArray[Any]]) -> NDArray[np.uint16]:
        """The depth frame (H, W), millimetres, of an observation.

        Args:
            observation: ``"depth"`` as large as frames are or as the picture that they are cut from; floating point
                in metres, or ``uint16`` in millimetres; 0 where nothing was measured.

        Raises:
            FovealError: there is no depth, or it has another size.
        """
        if "depth" not in observation:
            raise FovealError("this policy sees depth, and the observation has none: name a --camera that reads it")
        depth, view = np.asarray(observation["depth"]), self.view
        if depth.shape == (view.render, view.render):
            depth = view.cut(depth)
        elif depth.shape != (view.size, view.size):
            raise FovealError(
                f"this policy sees depth of {view.size} x {view.size} pixels, or cuts that from {view.render} x "
                f"{view.render}, and the camera reads {' x '.join(map(str, depth.shape))}: resize what it reads"
            )
        return depth if depth.dtype == np.uint16 else in_millimetres(depth)

    # --- state ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors by name, and JSON: what ``checkpoint.save`` takes."""

    @classmethod
    @abstractmethod
    def from_state(cls, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Self:
        """Undo of ``state``.

        Raises:
            FovealError: the weights don't fit the configuration.
        """

    def __reduce__(self) -> tuple[Any, ...]:
        """For other processes: as arrays, because tensors would be shared with them and not copied."""
        tensors, state = self.state()
        arrays = {name: tensor.detach().numpy().copy() for name, tensor in tensors.items()}
        return _from_arrays, (type(self), arrays, state)

    def save(self, folder: str | Path) -> Path:
        """Write everything; atomically, and nothing pickled.

        Raises:
            FovealError: the folder holds something else, or can't be written.
        """
        return checkpoint.save(folder, *self.state(), kind=self.kind)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """What ``save`` wrote, or what a run's newest checkpoint holds.

        Raises:
            FovealError: there is none, or it is damaged.
        """
        held = stored(Path(folder), cls.kind)
        return cls.from_state(held.tensors, held.state)

    @abstractmethod
    def exportable(self) -> Exportable:
        """What ``export`` writes.

        Raises:
            FovealError: there is nothing that looks at pictures.
        """

    def examples(self, batch: int) -> dict[str, Tensor]:
        """Inputs to try an exported network with: ``frames`` (batch, stack, H, W) of random depth, millimetres."""
        frames = torch.empty(batch, self.stack, self.view.size, self.view.size)
        return {"frames": frames.uniform_(300, 2500, generator=torch.Generator().manual_seed(0))}

    def export(self, path: str | Path) -> Path:
        """Write the network as ONNX, checked against PyTorch; needs the extra ``onnx``.

        Raises:
            FovealError: the extra is missing, the policy looks at no pictures, the file can't be written, or the
                exported network disagrees with this one.
        """
        return write_onnx(self.exportable(), Path(path))


def load_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put weights into a network.

    Raises:
        FovealError: they are those of another network.
    """
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise FovealError(f"these weights do not fit the network of their configuration: {error}") from error


def _from_arrays(kind: type[ArmPolicy], arrays: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> ArmPolicy:
    return kind.from_state({name: torch.tensor(array) for name, array in arrays.items()}, state)
