"""The interface of adapters, their registry, and which of them a policy is for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from gymnasium import spaces

from foveal.auditing.adapters.files import looks_like, opened
from foveal.auditing.cameras import Camera, cameras_of
from foveal.auditing.fitting import FIRST, Fit
from foveal.errors import FovealError
from foveal.evaluation.insides import Insides
from foveal.registry import Registry

BYTES, UNIT = "bytes", "unit"
PIXELS = (BYTES, UNIT)


@dataclass(frozen=True)
class AdapterOptions:
    """What can be said of a policy that does not say it itself.

    Attributes:
        trust: load a file by the library that wrote it, which may run code from the file.
        pixels: what a bare network takes floating point pixels in: "bytes", 0 to 255, or "unit", 0 to 1.
        prompt: the task in words, for policies that take some.
        drawn: let it draw its actions, as it does in training, instead of taking the likeliest.

    Raises:
        FovealError: ``pixels`` is something else.
    """

    trust: bool = False
    pixels: str | None = None
    prompt: str = ""
    drawn: bool = False

    def __post_init__(self) -> None:
        if self.pixels not in (None, *PIXELS):
            raise FovealError(f"pixels is {self.pixels!r}; say bytes (0 to 255) or unit (0 to 1)")


class Adapter(ABC):
    """A policy of somebody else's.

    Args:
        policy: the policy, or the path of its file.
        options: see ``AdapterOptions``.

    Attributes:
        rank: kinds are asked in this order whether they know a policy.
        observation_space, action_space: what it was trained on; None where it does not say.
        fill: what a deeper stack of frames is filled with at a reset: see ``foveal.auditing.fitting``.
        kind: what it is, in words.
        remarks: what a reader of the audit must know about how it was loaded and acts.
        draws: whether it can draw its actions, where ``options.drawn`` asks for that.
    """

    rank: ClassVar[int] = 0
    observation_space: spaces.Space[Any] | None = None
    action_space: spaces.Space[Any] | None = None
    fill: str = FIRST
    kind: str = "policy"
    remarks: tuple[str, ...] = ()
    draws: bool = False

    def __init__(self, policy: Any, options: AdapterOptions | None = None) -> None:
        self.policy = policy
        self.options = options or AdapterOptions()

    @classmethod
    @abstractmethod
    def recognises(cls, policy: Any) -> bool:
        """Whether this kind knows such a policy, or such a path."""

    def reset(self) -> None:  # noqa: B027 - most policies remember nothing
        """A new episode begins."""

    def begin_draws(self, number: int) -> None:  # noqa: B027 - most draw nothing
        """What is drawn in this episode, after ``reset``, is that of episode ``number``: whenever it is played."""

    @abstractmethod
    def act(self, observation: Any) -> Any:
        """What it does: an action, or a number for each discrete one; deterministic where it can and is not to draw."""

    def insides(self, camera: Camera, *, discrete: bool) -> Insides | None:
        """What of it can be differentiated; None of a black box, whose maps need no gradient.

        Args:
            camera: the first picture, as the policy takes it.
            discrete: whether its actions are choices.
        """
        return None

    def first_camera(self, given: Sequence[Camera]) -> Camera:
        """The first picture in its own layout; in that of the environment's, which are given, where it says none."""
        own = () if self.observation_space is None else cameras_of(self.observation_space)
        return (*own, *given)[0]

    def fitting(self, given: spaces.Space[Any]) -> Fit:
        """From observations of an environment to those that it was trained on; errors as for ``Fit``."""
        return Fit(given, self.observation_space, self.fill)

    def world(self, env: Any) -> Callable[[], Any] | None:
        """Makes the environment that it acts in, where that is a world of its own; None where ``env`` is used.

        Args:
            env: the one that was named, or None.

        Raises:
            FovealError: it can't act there.
        """
        return None

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of what it needs."""

    @property
    def about(self) -> dict[str, Any]:
        """What a result says of it, JSON values: its class, or where it is, and its kind."""
        placed = isinstance(self.policy, (str, Path))
        return {"name": str(self.policy) if placed else type(self.policy).__name__, "kind": self.kind}


ADAPTERS: Registry[type[Adapter]] = Registry("adapter", "foveal.auditing.adapters")


def adapted(policy: Any, options: AdapterOptions) -> Adapter:
    """A policy of any kind.

    Args:
        policy: an object, a path, ``"pretrained:NAME"``, an address ``"ws://..."``, or an ``Adapter``.
        options: what it does not say itself.

    Raises:
        FovealError: no kind knows it, and of a file the message says what it looks like; or it can't draw its actions.
    """
    if isinstance(policy, Adapter):
        return policy
    policy = opened(policy)
    kinds = sorted((ADAPTERS.get(name) for name in ADAPTERS.names()), key=lambda kind: kind.rank)
    for kind in kinds:
        if kind.recognises(policy):
            return _able(kind(policy, options))
    if isinstance(policy, (str, Path)):
        raise FovealError(_unknown_file(Path(policy)))
    raise FovealError(
        f"a {type(policy).__module__}.{type(policy).__qualname__} is no policy that foveal can ask: give something "
        "callable (observation -> action), or with predict(observation), or with reset() and select_action(batch)"
    )


def _able(adapter: Adapter) -> Adapter:
    """The same, unless it is to draw its actions and can't."""
    if adapter.options.drawn and not adapter.draws:
        adapter.close()
        raise FovealError(
            f"foveal can't have this policy ({adapter.kind}) draw its actions: --drawn is for agents with "
            "predict(observation, deterministic=...), such as those of Stable-Baselines3; or give foveal.audit a "
            "function that draws them itself"
        )
    return adapter


def _unknown_file(path: Path) -> str:
    if not path.exists():
        return (
            f"there is no policy {path}: name a file, a folder, pretrained:NAME, or the address of a server, ws://..."
        )
    return f"{path} looks like {looks_like(path)}"


def is_file(policy: Any, *endings: str) -> bool:
    """Whether a policy is the path of a file with one of these endings, or of any where none is given."""
    if not isinstance(policy, (str, Path)):
        return False
    path = Path(policy)
    return path.is_file() and (not endings or path.suffix.lower() in endings)
