"""``foveal shield train`` and ``page``: a network that stands before a finished policy, and what it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from foveal.commands import train
from foveal.commands.options import carry_out
from foveal.commands.plugins import import_plugins
from foveal.commands.verbs import parse
from foveal.errors import FovealError
from foveal.evaluation.pixel_world import Policy
from foveal.explanation import shield_page
from foveal.loading import load
from foveal.shield.config import ShieldConfig
from foveal.shield.frames import collect
from foveal.shield.shield import KIND, Shield
from foveal.shield.training import resumed, settings_of, shield_work
from foveal.training import Trainer
from foveal.training.run_folder import RunFolder, read_metrics

PAGE = "page.html"


@dataclass(frozen=True)
class TrainOptions:
    """Train a shield for the look of an environment, or of the one that a policy was trained in.

    Attributes:
        what: an environment's id, such as dmc/walker-walk, or a policy: a run's folder or pretrained:NAME. Half of the
            frames are then from the policy's own episodes.
        out: new run folder (default: shields/WHAT).
        resume: run folder to continue.
        seed: of everything random.
        image_size: side of the frames, where an environment was named; by default 84.
        quality: of rendering, where an environment was named: exact, fast or draft.
        shield: network and training.
    """

    what: tyro.conf.Positional[Annotated[str | None, tyro.conf.arg(metavar="ENV|POLICY")]] = None
    out: Path | None = None
    resume: Path | None = None
    seed: int = 0
    image_size: int | None = None
    quality: str | None = None
    shield: tyro.conf.OmitArgPrefixes[ShieldConfig] = field(default_factory=ShieldConfig)


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
    """Train a new shield, go on with one, or show one."""
    arguments = import_plugins(arguments)
    options: TrainOptions | PageOptions = parse("shield", {"train": TrainOptions(), "page": PageOptions}, arguments)
    if isinstance(options, PageOptions):
        print(_page(options.run, options.out))
    elif options.resume is not None:
        train.main(arguments[1:])  # which refuses all other options
        print(_page(options.resume))
    elif options.what is not None:
        _train(options.what, options)
    else:
        raise FovealError("name what to shield, e.g. foveal shield train dmc/walker-walk, or a run: --resume")


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
    return shield.wrap(agent)


def _train(what: str, options: TrainOptions) -> None:
    out = options.out or Path("shields") / Path(what.replace(":", "-")).name
    env, settings, policy = _subject(what, options)
    frames = collect(env, settings, options.shield.frames, options.seed, policy, progress=True)
    work = shield_work(env, frames, options.shield, options.seed)
    print(f"training a shield for {env}; everything goes to {out}")
    carry_out(Trainer(work, settings_of(options.shield), run=out), options.shield.steps, out)
    print(f"done: {_page(out)}\nnext: foveal evaluate {what if policy is not None else 'RUN'} --shield {out}")


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
