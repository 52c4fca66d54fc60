"""``make``: from an id, an environment or a callable to what agents see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import gymnasium.error
from gymnasium import spaces

from foveal.envs import games
from foveal.envs.family import FAMILIES, EnvOptions, Family, check_whole, gymnasium_id, known_ids
from foveal.envs.perturbations import Perturbation, named_perturbation
from foveal.envs.pixel import EnvInfo, PixelEnv
from foveal.envs.wrappers import ActionRepeat, adapt
from foveal.errors import FovealError
from foveal.registry import nearest

EnvLike = str | gymnasium.Env[Any, Any] | Callable[[], gymnasium.Env[Any, Any]]


def make(
    env: EnvLike,
    *,
    image_size: int = 84,
    frame_stack: int = 3,
    action_repeat: int | None = None,
    quality: str = "exact",
    perturbation: str | None = None,
    data: str | Path | None = None,
    seed: int | None = None,
    camera: int = 0,
    meshes: bool = False,
    rendered_size: int | None = None,
) -> PixelEnv:
    """An environment of stacked RGB frames with actions in [-1, 1] (or Discrete).

    Args:
        env: ``"dmc/walker-walk"`` or another id of ``known_ids()``; a registered Gymnasium id; an environment; or a
            callable without arguments that makes one. One of your own needs a ``uint8`` RGB image, (H, W, 3) or
            (3, H, W), alone or as the only image of a Dict whose other entries are float vectors.
        image_size: height and width of a frame, in pixels.
        frame_stack: frames in an observation, oldest first.
        action_repeat: simulator steps per action; None for the benchmark's (finger 2, cartpole 8, other dmc/ 4), and 1
            for all else.
        quality: of rendering of dmc/ and ur5e/: ``"exact"`` is dm_control's, ``"fast"`` has coarser shadows,
            ``"draft"`` no multisampling either. The benchmark's numbers are only comparable with ``"exact"``.
        perturbation: ``"color_easy"``, ``"color_hard"``, ``"video_easy"``, ``"video_hard"``, a corruption at a severity
            such as ``"noise:3"``, or one of your own.
        data: folder of DMC-GB's data (``color_easy.pt``, ..., ``video_hard/video0.mp4``, ...); None for generated
            colours and videos. Unused without a perturbation.
        seed: for the first ``reset`` that is called without one. The same seed gives the same episodes.
        camera: index of the camera of dmc/ and ur5e/.
        meshes: of ur5e/: show the real arm's meshes, of an installed robosuite, instead of simple shapes.
        rendered_size: height and width of a frame until it has been perturbed; then it is averaged to ``image_size``.
            None for the same. DMC-GB renders 84 pixels and keys its videos in there.

    Raises:
        FovealError: an unknown name, an option out of range, missing or damaged data, an environment without an image
            or with actions that can't be served, or no OpenGL.
    """
    options = EnvOptions(image_size, action_repeat, quality, camera, meshes)
    if rendered_size is not None:
        check_whole("rendered_size", rendered_size, least=image_size)
        options = replace(options, image_size=rendered_size)
    check_whole("frame_stack", frame_stack, least=1)
    if seed is not None:
        check_whole("seed", seed, least=0)
    change = None if perturbation is None else _perturbation(perturbation, data)
    raw, name = _raw(env, options)
    try:
        return _assemble(raw, name, options, image_size, frame_stack, change, perturbation, seed)
    except BaseException:
        if raw is not env:  # the user's own environment stays open
            raw.close()
        raise


def make_registered(env: str, render_mode: str | None = None, **options: Any) -> PixelEnv:
    """The entry point of ``gymnasium.make("foveal/dmc-walker-walk-v0", ...)``; options are those of ``make``."""
    if render_mode not in (None, "rgb_array"):
        raise FovealError(f"render_mode is {render_mode!r}; foveal's environments render to 'rgb_array' only")
    return make(env, **options)


def register_gymnasium_ids() -> None:
    """Enter every known id in Gymnasium's registry, ``dmc/walker-walk`` as ``foveal/dmc-walker-walk-v0``."""
    for known in known_ids():
        if gymnasium_id(known) not in gymnasium.registry:
            gymnasium.register(gymnasium_id(known), entry_point=f"{__name__}:make_registered", kwargs={"env": known})


def _perturbation(name: str, data: str | Path | None) -> Perturbation:
    folder = None if data is None else Path(data).expanduser()
    if folder is not None and not folder.is_dir():
        raise FovealError(f"data is {str(data)!r}, which is no folder: name the one that holds DMC-GB's files")
    return named_perturbation(name, folder)


def _raw(env: EnvLike, options: EnvOptions) -> tuple[gymnasium.Env[Any, Any], str]:
    """The environment without wrappers of ours, and its name."""
    if isinstance(env, str):
        return _by_name(env, options)
    made: Any = env() if callable(env) else env
    if not isinstance(made, gymnasium.Env):
        what = f"a {type(made).__module__}.{type(made).__qualname__}"
        raise FovealError(f"{what} is no environment: give an id, a gymnasium.Env, or a callable that returns one")
    if isinstance(made.unwrapped, PixelEnv):
        raise FovealError("this environment was already made by foveal.envs.make: use it as it is")
    return made, made.spec.id if made.spec is not None else type(made.unwrapped).__name__


@contextmanager
def made_once(env: EnvLike) -> Iterator[EnvLike]:
    """An environment that is to be looked at more than once, made if only so it can be asked; closed afterwards.

    Those of our own families are asked without, and one that the user made stays what it is.

    Raises:
        FovealError: it is unknown, or can't be made.
    """
    if isinstance(env, gymnasium.Env) or (isinstance(env, str) and (games.is_atari(env) or _in_family(env))):
        yield env
        return
    made, _ = _raw(env, EnvOptions())
    try:
        yield made
    finally:
        made.close()


def takes_discrete(env: EnvLike) -> bool:
    """Whether an environment's actions are discrete; one that is no family's is made to be asked.

    Raises:
        FovealError: it is unknown, or can't be made.
    """
    if isinstance(env, str) and (known := _in_family(env)) is not None:
        family, name, _ = known
        return family.discrete(name)
    with made_once(env) as made:
        return isinstance(_raw(made, EnvOptions())[0].action_space, spaces.Discrete)


def _in_family(name: str) -> tuple[Family, str, str] | None:
    """The family of an id, the part after the slash, and the id as foveal writes it; None of an id of Gymnasium's.

    Raises:
        FovealError: the family has no such environment.
    """
    spec = gymnasium.registry.get(name)
    if spec is not None and spec.entry_point == f"{__name__}:make_registered":
        name = spec.kwargs["env"]
    prefix, _, rest = name.partition("/")
    if prefix not in FAMILIES.names():
        return None
    family = FAMILIES.get(prefix)()
    if rest not in family.names():
        raise FovealError(f"unknown environment {name!r}: {nearest(name, _suggestions())}")
    return family, rest, name


def _by_name(name: str, options: EnvOptions) -> tuple[gymnasium.Env[Any, Any], str]:
    if (known := _in_family(name)) is not None:
        family, rest, name = known
        return family.build(rest, options), name
    try:
        return gymnasium.make(name, disable_env_checker=True), name
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        if name in gymnasium.registry:
            raise FovealError(f"gymnasium can't make {name!r}: {error}") from error
        raise FovealError(f"unknown environment {name!r}: {nearest(name, _suggestions())}") from error


def _suggestions() -> list[str]:
    ours = {gymnasium_id(known) for known in known_ids()}
    return known_ids() + [name for name in gymnasium.registry if name not in ours]


def _assemble(
    raw: gymnasium.Env[Any, Any],
    name: str,
    options: EnvOptions,
    image_size: int,
    frame_stack: int,
    change: Perturbation | None,
    perturbation: str | None,
    seed: int | None,
) -> PixelEnv:
    repeats_itself = getattr(raw.unwrapped, "action_repeat", None)
    repeat = repeats_itself or options.action_repeat or 1
    longest = _longest_episode(raw, repeat)
    env = adapt(raw, options.image_size, name)
    if repeats_itself is None and repeat > 1:
        env = ActionRepeat(env, repeat)
    if change is not None:
        env = change.apply(env)
    env = adapt(env, image_size, name)
    info = EnvInfo(
        id=name,
        image_size=image_size,
        frame_stack=frame_stack,
        action_repeat=repeat,
        quality=options.quality,
        perturbation=perturbation,
        perturbation_source=change.source if change else None,
        perturbation_items=change.items if change else None,
        perturbation_benchmark_items=change.benchmark_items if change else None,
        perturbation_complete=change.complete if change else None,
        max_agent_steps=longest,
        camera=options.camera,
        rendered_size=None if options.image_size == image_size else options.image_size,
    )
    return PixelEnv(env, info, seed)


def _longest_episode(raw: gymnasium.Env[Any, Any], repeat: int) -> int | None:
    """Agent steps after which an episode is truncated, or None where nobody says."""
    own: int | None = getattr(raw.unwrapped, "max_agent_steps", None)
    if own is not None:
        return own
    steps = raw.spec.max_episode_steps if raw.spec is not None else None
    return None if steps is None else -(-steps // repeat)
