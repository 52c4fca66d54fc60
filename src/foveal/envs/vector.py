"""Several environments stepped together."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from foveal.envs.family import check_whole
from foveal.envs.making import EnvLike, make
from foveal.envs.pixel import EnvInfo, PixelEnv
from foveal.errors import FovealError
from foveal.registry import PLUGINS, import_plugins


def make_vector(
    env: EnvLike | Sequence[Callable[[], gymnasium.Env[Any, Any]]],
    n: int | None = None,
    *,
    asynchronous: bool = False,
    seed: int | None = None,
    **options: Any,
) -> VectorEnv[Any, Any, Any]:
    """``n`` environments as Gymnasium's vector environment, also where ``n`` is 1.

    An episode that has ended is reset by the *next* step: that step takes no action, gives reward 0 and the new
    episode's first observation, and is no transition (Gymnasium's NEXT_STEP autoreset).

    Args:
        env: what ``make`` takes (an environment itself for ``n=1`` only), or a sequence of callables, one for each.
        n: how many; by default the length of the sequence, or 1.
        asynchronous: step each in a process of its own (``AsyncVectorEnv``, spawned, so that a script needs
            ``if __name__ == "__main__"``) instead of in turn. Processes can't be saved in the middle of an episode.
        seed: environment i is made with ``seed + i``.
        **options: keyword arguments of ``make``.

    Raises:
        FovealError: as ``make``; ``n`` is below 1 or not the sequence's length; or it is above 1 for one environment.
    """
    sources = _sources(env, n)
    makers = [
        partial(_make, os.getpid(), tuple(PLUGINS), source, seed=None if seed is None else seed + index, **options)
        for index, source in enumerate(sources)
    ]
    if asynchronous:
        return PixelProcesses(makers)
    return PixelVector(makers)


def make_apart(env: EnvLike, **options: Any) -> PixelApart:
    """An environment that is stepped in a process of its own, so that several can be at the same time.

    Args:
        env: what ``make`` takes, but no environment itself. A script needs ``if __name__ == "__main__"``.
        **options: keyword arguments of ``make``.

    Raises:
        FovealError: as ``make``.
    """
    return PixelApart(partial(_make, os.getpid(), tuple(PLUGINS), env, **options))


def _make(asked_in: int, plugins: Sequence[str], env: EnvLike, **options: Any) -> PixelEnv:
    """As ``make``, maybe in a new process.

    That has not imported the user's modules yet, and Ctrl-C, which reaches all processes, is for the one that asked.
    """
    if os.getpid() != asked_in:
        import_plugins(plugins)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return make(env, **options)


def _sources(env: Any, n: int | None) -> list[EnvLike]:
    if isinstance(env, Sequence) and not isinstance(env, str):
        if not env or (n is not None and n != len(env)):
            raise FovealError(f"{len(env)} callables were given for {n or 'no'} environments: give one for each")
        return list(env)
    count = 1 if n is None else n
    check_whole("n", count, least=1)
    if count > 1 and isinstance(env, gymnasium.Env):
        raise FovealError(f"one environment can't be {count}: give an id, or a callable that makes a new one each time")
    return [env] * count


class PixelProcesses(AsyncVectorEnv):
    """Gymnasium's ``AsyncVectorEnv`` of ``PixelEnv``.

    Attributes:
        spec_info: description of the first environment.
    """

    def __init__(self, makers: Sequence[Callable[[], PixelEnv]]) -> None:
        # Spawned: a forked process would inherit an OpenGL context that it can't use.
        super().__init__(makers, context="spawn", autoreset_mode=AutoresetMode.NEXT_STEP)
        self.spec_info: EnvInfo = self.get_attr("spec_info")[0]

    def get_state(self) -> dict[str, Any]:
        """Always raises a FovealError that says what can be saved."""
        raise FovealError("environments in processes of their own can't be saved: make them with asynchronous=False")

    def set_state(self, state: dict[str, Any]) -> None:
        """Always raises, like ``get_state``."""
        self.get_state()


class PixelApart(gymnasium.Env[Any, Any]):
    """One ``PixelEnv`` in a process of its own.

    Args:
        maker: makes it there.

    Attributes:
        spec_info: its description.
    """

    def __init__(self, maker: Callable[[], PixelEnv]) -> None:
        self._process = AsyncVectorEnv([maker], context="spawn", autoreset_mode=AutoresetMode.DISABLED)
        self.action_space = self._process.single_action_space
        self.observation_space = self._process.single_observation_space
        self.spec_info: EnvInfo = self._process.get_attr("spec_info")[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observations, infos = self._process.reset(seed=seed, options=options)
        return _only(observations), _only(infos)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observations, rewards, terminated, truncated, infos = self._process.step(np.asarray(action)[None])
        return _only(observations), float(rewards[0]), bool(terminated[0]), bool(truncated[0]), _only(infos)

    def close(self) -> None:
        self._process.close()


def _only(batch: Any) -> Any:
    """What a batch of one holds; of infos without Gymnasium's marks of who has them."""
    if not isinstance(batch, dict):
        return batch[0]
    return {name: _only(entry) for name, entry in batch.items() if not name.startswith("_")}


class PixelVector(SyncVectorEnv):
    """Gymnasium's ``SyncVectorEnv`` of ``PixelEnv``, which can be saved and described like one of them.

    Attributes:
        spec_info: description of the first environment.
    """

    def __init__(self, makers: Sequence[Callable[[], PixelEnv]]) -> None:
        super().__init__(makers, autoreset_mode=AutoresetMode.NEXT_STEP)
        self.spec_info: EnvInfo = self.envs[0].spec_info  # type: ignore[attr-defined]

    def get_state(self) -> dict[str, Any]:
        """The states of all environments, and which of them the next step will reset.

        Raises:
            FovealError: one of them can't be saved.
        """
        states = [env.get_state() for env in self.envs]  # type: ignore[attr-defined]
        return {"envs": states, "autoreset": self._autoreset_envs.copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on exactly where ``get_state`` was called, with as many environments made with the same options.

        Raises:
            FovealError: the state is of another number of environments, or of other ones.
        """
        if len(state["envs"]) != self.num_envs:
            raise FovealError(f"this state is of {len(state['envs'])} environments, and there are {self.num_envs} here")
        for env, own in zip(self.envs, state["envs"], strict=True):
            env.set_state(own)  # type: ignore[attr-defined]
        self._autoreset_envs = np.array(state["autoreset"], dtype=np.bool_)
