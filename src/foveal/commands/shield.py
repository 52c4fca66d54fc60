"""``foveal shield``: train a network that stands before a finished policy, draw masks for it, see what it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from foveal.commands import train
from foveal.commands.options import carry_out
from foveal.commands.plugins import import_plugins
from foveal.commands.verbs import parse
from foveal.config.bounds import at_least, one_of
from foveal.errors import FovealError
from foveal.evaluation.pixel_world import Policy
from foveal.explanation import shield_page
from foveal.explanation.drawing import drawing_page, write_sheet
from foveal.fovea.frames import FrameSet
from foveal.loading import load
from foveal.shield.config import FILES, MASKS, MOTION, SALIENCY, SIMULATOR, ShieldConfig
from foveal.shield.labels import camera_frames, environment_frames
from foveal.shield.shield import KIND, Shield
from foveal.shield.training import resumed, settings_of, shield_work
from foveal.training import Callback, Trainer
from foveal.training.run_folder import RunFolder, read_metrics, refuse_existing

PAGE = "page.html"
SHEET = "masks.png"
KNOWN_MASKS = (SIMULATOR, MOTION, SALIENCY)
IMAGE_SIZE = 84
"""Of frames from files, where no policy says which it sees."""


@dataclass(frozen=True)
class Settings(ShieldConfig):
    """Those of a shield that ``TrainOptions`` has no option of its own for."""

    frames: tyro.conf.Suppress[Annotated[int, at_least(20)]] = ShieldConfig.frames
    masks: tyro.conf.Suppress[Annotated[str, one_of(*MASKS)]] = ShieldConfig.masks


@dataclass(frozen=True)
class TrainOptions:
    """Train a shield for the look of an environment, of the one that a policy was trained in, or of a camera.

    Attributes:
        what: an environment's id, such as dmc/walker-walk, or a policy: a run's folder or pretrained:NAME. Half of the
            frames are then from the policy's own episodes. Not needed where frames are from files.
        frames: how many it learns from (default: 3000); or a folder of pictures, or a film.
        masks: who tells which pixels are the task's: simulator (the default with an environment), motion (with frames
            from files; the camera must stand still), saliency (of the policy); or a folder or zip file of masks for
            some of the frames, see foveal shield draw.
        out: new run folder (default: shields/ and the name of what it is for).
        resume: run folder to continue.
        seed: of everything random.
        image_size: side of the frames, where no policy was named; by default 84.
        quality: of rendering, where an environment was named: exact, fast or draft.
        shield: network and training.
    """

    what: tyro.conf.Positional[Annotated[str | None, tyro.conf.arg(metavar="ENV|POLICY")]] = None
    frames: Annotated[str | None, tyro.conf.arg(metavar="COUNT|FOLDER|FILM")] = None
    masks: Annotated[str | None, tyro.conf.arg(metavar="simulator|motion|saliency|FOLDER|ZIP")] = None
    out: Path | None = None
    resume: Path | None = None
    seed: int = 0
    image_size: int | None = None
    quality: str | None = None
    shield: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)


@dataclass(frozen=True)
class DrawOptions:
    """Write a page with some frames that differ, to paint on them which pixels are the task's.

    Attributes:
        frames: a folder of pictures, or a film.
        count: of frames on the page.
        out: the page.
    """

    frames: Path
    count: int = 10
    out: Path = Path("masks.html")


@dataclass(frozen=True)
class PageOptions:
    """Write the page of a shield once more: what it makes of frames that were kept back, under every corruption.

    Attributes:
        run: the run's folder.
        out: the page (default: page.html in that folder).
    """

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
    out: Path | None = None


def main(arguments: Sequence[str]) -> None:
    """Train a new shield, go on with one, draw masks for one, or show one."""
    arguments = import_plugins(arguments)
    verbs = {"train": TrainOptions(), "draw": DrawOptions, "page": PageOptions}
    options: TrainOptions | DrawOptions | PageOptions = parse("shield", verbs, arguments)
    if isinstance(options, DrawOptions):
        _draw(options)
    elif isinstance(options, PageOptions):
        print(_page(options.run, options.out))
    elif options.resume is not None:
        train.main(arguments[1:])  # which refuses all other options
        print(_page(options.resume))
    else:
        _train(options)


def behind(folder: str | None, agent: Any) -> Any:
    """The agent behind the shield of a folder, or one that ships with foveal, where one is named.

    Raises:
        FovealError: there is no shield, or one for pictures of another size.
    """
    if folder is None:
        return agent
    shield = Shield.load(folder)
    size = getattr(agent, "env_options", {}).get("image_size")
    if size != shield.image_size:
        raise FovealError(
            f"{folder} is for frames of {shield.image_size} pixels, and this policy sees {size}: train one for it, "
            "foveal shield train POLICY"
        )
    if agent.env_id != shield.env_id:
        print(f"warning: this shield knows the look of {shield.env_id}, and the policy is for {agent.env_id}")
    elif (rendered := agent.env_options.get("rendered_size") or size) != (shield.rendered_size or size):
        print(
            f"warning: this shield knows frames rendered with {shield.rendered_size or size} pixels, and the policy's "
            f"are rendered with {rendered}: it will change some that look as trained"
        )
    return shield.wrap(agent)


def _draw(options: DrawOptions) -> None:
    if options.count < 1:
        raise FovealError(f"count must be at least 1, not {options.count}")
    page = drawing_page(options.out, options.frames, options.count)
    print(f"{page}: open it in a browser, paint, download masks.zip")
    print(f"next: foveal shield train --frames {options.frames} --masks masks.zip")


def _train(options: TrainOptions) -> None:
    recorded = options.frames if options.frames is not None and not options.frames.isdecimal() else None
    what = options.what or recorded
    if what is None:
        raise FovealError(
            "name what to shield, e.g. foveal shield train dmc/walker-walk; or frames of it, --frames FOLDER; or a "
            "run, --resume RUN"
        )
    config = _config(options, recorded)
    out = options.out or Path("shields") / Path(what.replace(":", "-")).name
    refuse_existing(out)
    if recorded is not None:
        seen = _of_camera(recorded, options, config)
    else:
        seen = _of_environment(what, options, config)
    work = shield_work(seen.name, seen.frames, config, options.seed, seen.rendered_size)
    print(f"training a shield for {seen.name}, masks by {config.masks}; everything goes to {out}, see {SHEET} there")
    carry_out(Trainer(work, settings_of(config), run=out, callbacks=[Sheet(seen.frames)]), config.steps, out)
    print(f"done: {_page(out)}\nnext: foveal evaluate {what if seen.protected else 'RUN'} --shield {out}")


class Seen(NamedTuple):
    """What a shield is to learn from.

    Attributes:
        name: of what is seen.
        frames: of it.
        protected: whether a policy was named.
        rendered_size: as in ``Shield``.
    """

    name: str
    frames: FrameSet
    protected: bool
    rendered_size: int | None


class Sheet(Callback):
    """Shows what counts as the task, as soon as a run's folder is there.

    Args:
        frames: with their masks.
    """

    def __init__(self, frames: FrameSet) -> None:
        self.frames = frames

    def on_step(self, trainer: Trainer) -> None:
        """Write the sheet once."""
        if trainer.run is not None and trainer.work.steps == 1:
            write_sheet(Path(trainer.run) / SHEET, self.frames)


def _config(options: TrainOptions, recorded: str | None) -> ShieldConfig:
    """The settings, with how many frames there are and who tells the task."""
    count = int(options.frames) if options.frames is not None and recorded is None else ShieldConfig.frames
    masks = options.masks or (SIMULATOR if recorded is None else MOTION)
    settings = {**vars(options.shield), "frames": count, "masks": masks if masks in KNOWN_MASKS else FILES}
    return ShieldConfig(**settings)


def _of_environment(what: str, options: TrainOptions, config: ShieldConfig) -> Seen:
    """Frames of an environment, or of a policy's."""
    env, settings, policy = _subject(what, options)
    frames = environment_frames(env, settings, config, options.seed, policy, progress=True)
    return Seen(env, frames, policy is not None, settings.get("rendered_size"))


def _of_camera(recorded: str, options: TrainOptions, config: ShieldConfig) -> Seen:
    """Recorded frames."""
    if options.quality is not None:
        raise FovealError("quality is of rendering, and these frames are rendered already: leave it out")
    name, size, policy = Path(recorded).name, options.image_size or IMAGE_SIZE, None
    settings: Mapping[str, Any] = {}
    if options.what is not None:
        name, settings, policy = _subject(options.what, options)
        size = settings.get("image_size", size)
    masks = options.masks if config.masks == FILES else None
    frames = camera_frames(recorded, size, config, masks=masks, policy=policy, seed=options.seed, progress=True)
    return Seen(name, frames, policy is not None, settings.get("rendered_size"))


def _page(run: Path, out: Path | None = None) -> Path:
    """Write the page of a run; its newest checkpoint has the frames."""
    held = RunFolder.open(run, KIND).store.latest()
    if held is None:
        raise FovealError(f"{run} is a run without a checkpoint yet; let it train further")
    work = resumed(held)
    return shield_page(out or run / PAGE, work.agent, work.kept, read_metrics(run), progress=True)


def _subject(what: str, options: TrainOptions) -> tuple[str, Mapping[str, Any], Policy | None]:
    """The environment, how it is made, and the policy to be protected, if one was named."""
    own = {"image_size": options.image_size, "quality": options.quality}
    asked = {name: value for name, value in own.items() if value is not None}
    if not what.startswith("pretrained:") and not Path(what).is_dir():
        return what, {"frame_stack": 1, **asked}, None
    if asked:
        raise FovealError(f"{next(iter(asked))} is the policy's own: leave it out, or name an environment")
    policy: Any = load(what)
    if not hasattr(policy, "env_options"):
        raise FovealError(f"{what} sees no RGB frames, so no shield can stand before it")
    return policy.env_id, policy.env_options, policy
