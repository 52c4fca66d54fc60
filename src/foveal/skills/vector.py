"""Groups of arms in processes of their own, as a vector environment of Gymnasium's."""

from __future__ import annotations

import itertools
import signal
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from foveal.errors import FovealError
from foveal.skills.groups import Group, GroupSettings, Stepped
from foveal.skills.workers import begin_worker


class GroupVector(VectorEnv[NDArray[np.float32], NDArray[Any], NDArray[Any]]):
    """All arms together.

    The step that ends an episode shows the next one's first observation (Gymnasium's SAME_STEP). ``infos`` has the
    ``steps`` that each action took; ``final_obs`` and ``success`` of each episode that ended, and where in
    ``_final_obs`` and ``_success``.

    Args:
        settings: what they are.
        count: how many.
        workers: processes; with 1 everything happens in this one. Spawned: a script needs
            ``if __name__ == "__main__"``.

    Raises:
        FovealError: ``workers`` is below 1, or a process could not begin.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, settings: GroupSettings, count: int, workers: int = 1) -> None:
        if workers < 1:
            raise FovealError(f"workers is {workers}; it takes at least 1")
        self.num_envs = count
        self.single_observation_space, self.single_action_space = settings.spaces
        self.observation_space = batch_space(self.single_observation_space, count)
        self.action_space = batch_space(self.single_action_space, count)
        bounds = np.linspace(0, count, min(workers, count) + 1).round().astype(int)
        self._ranges = [slice(int(low), int(high)) for low, high in itertools.pairwise(bounds)]
        places = [(part.start, part.stop - part.start) for part in self._ranges]
        remote = len(places) > 1
        self._groups: list[Any] = [(_Remote if remote else _Local)(settings, *place) for place in places]

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """New episodes.

        Raises:
            FovealError: a seed is given.
        """
        if seed is not None:
            raise FovealError("the seed of arms that train belongs to their settings: make new ones instead")
        for group in self._groups:
            group.send("reset", ())
        return np.concatenate([group.receive() for group in self._groups]), {}

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Observations, rewards, terminations, truncations and infos."""
        for group, part in zip(self._groups, self._ranges, strict=True):
            group.send("step", (actions[part],))
        stepped: list[Stepped] = [group.receive() for group in self._groups]
        seen, rewards, ended, said = zip(*stepped, strict=True)
        infos: dict[str, Any] = {}
        for index, info in enumerate(itertools.chain(*said)):
            infos = self._add_info(infos, info, index)  # Gymnasium's for its subclasses; it has nothing public
        cut = infos.get("truncated", np.zeros(self.num_envs, np.bool_))
        over = np.concatenate(ended) & ~cut
        return np.concatenate(seen), np.concatenate(rewards), over, cut, infos

    def get_state(self) -> list[dict[str, Any]]:
        """Of each arm, in whatever process: JSON values and arrays."""
        for group in self._groups:
            group.send("get_state", ())
        return list(itertools.chain(*[group.receive() for group in self._groups]))

    def set_state(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Undo of ``get_state``; there may be another number of processes."""
        for group, part in zip(self._groups, self._ranges, strict=True):
            group.send("set_state", (states[part],))
        for group in self._groups:
            group.receive()

    def close_extras(self, **kwargs: Any) -> None:
        """End the processes."""
        for group in self._groups:
            group.close()
        self._groups = []


class _Local:
    """A group in this process; it acts when its answer is asked for."""

    def __init__(self, settings: GroupSettings, first: int, count: int) -> None:
        self._group = settings.make(first, count)
        self._asked: tuple[str, Sequence[Any]] = ("", ())

    def send(self, name: str, arguments: Sequence[Any]) -> None:
        self._asked = name, arguments

    def receive(self) -> Any:
        name, arguments = self._asked
        return getattr(self._group, name)(*arguments)

    def close(self) -> None:
        self._group.close()


class _Remote:
    """A group in a process of its own."""

    def __init__(self, settings: GroupSettings, first: int, count: int) -> None:
        context = get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, settings, first, count), daemon=True)
        self._process.start()
        other.close()

    def send(self, name: str, arguments: Sequence[Any]) -> None:
        self._pipe.send((name, arguments))

    def receive(self) -> Any:
        try:
            well, answer = self._pipe.recv()
        except EOFError as error:
            raise FovealError("a process of simulated arms ended by itself: is there enough memory?") from error
        if not well:
            raise FovealError(f"a process of simulated arms failed:\n{answer}")
        return answer

    def close(self) -> None:
        self._pipe.close()
        self._process.join(timeout=10.0)
        if self._process.is_alive():
            self._process.terminate()


def _serve(pipe: Any, settings: GroupSettings, first: int, count: int) -> None:
    begin_worker()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal: the parent says when to stop
    group: Group | None = None
    try:
        group = settings.make(first, count)
        while True:
            name, arguments = pipe.recv()
            pipe.send((True, getattr(group, name)(*arguments)))
    except (EOFError, BrokenPipeError):
        pass  # the parent is done
    except Exception:  # noqa: BLE001 - sent to the parent, which raises
        pipe.send((False, traceback.format_exc()))
    finally:
        if group is not None:
            group.close()
