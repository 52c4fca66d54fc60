"""What cloned skills look at in an episode: maps on depth, and how much of them lies on cube, bowl and gripper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from foveal.envs.ur5e.tasks import TASKS
from foveal.errors import FovealError
from foveal.evaluation.rollouts import TRAIN
from foveal.explanation.agreement import agreement_table
from foveal.explanation.attention import (
    BUILT_IN,
    DEFAULT_MAP,
    DEFAULT_QUANTILE,
    Attention,
    Moment,
    Wording,
    check_numbers,
    map_names,
)
from foveal.explanation.movies import film_of
from foveal.explanation.page import TIMES, Cell, Line, Table, write_page
from foveal.explanation.panels import Explanation, episodes, map_meaning, map_name, panels, percent, times
from foveal.registry import nearest
from foveal.saliency import CHANNELS, SALIENCY, quantile_mask
from foveal.skills.conditions import CONDITIONS
from foveal.skills.config import as_dict
from foveal.skills.master import Master, skills_of
from foveal.skills.policy import SkillPolicy
from foveal.skills.recording import Recording, Sighting, record
from foveal.skills.saliency import GRIPPER, VELOCITY, in_float32, look, scalar_of, untrained

WORDINGS = {
    VELOCITY: Wording("|v|", "predicted velocity", "reward", "reward per step", 0),
    GRIPPER: Wording("margin", "margin of the gripper's logits", "reward", "reward per step", 0),
}
_MEANT = {
    VELOCITY: "the tool's predicted velocity (absolute values along its three axes, summed)",
    GRIPPER: "the margin between the gripper's two logits (to close and to open)",
}


@dataclass(frozen=True)
class Share:
    """How much of a map lies on a part of the scene; means over the moments.

    Attributes:
        saliency: of all saliency, the part's.
        untrained: the same in a network of the same shape that has learned nothing.
        pixels: of the picture, the part's: what a map that is the same everywhere would have.
    """

    saliency: float
    untrained: float
    pixels: float

    @property
    def ratio(self) -> float | None:
        """Saliency over pixels; None where the part is never seen."""
        return self.saliency / self.pixels if self.pixels else None


@dataclass(frozen=True)
class Seen:
    """One episode as one map shows it.

    Attributes:
        attention: pictures and numbers, moment by moment.
        shares: name of a skill, ``"all"`` for all moments, -> name of a part -> how much of the map lies on it.
    """

    attention: Attention
    shares: Mapping[str, Mapping[str, Share]]


def look_at_skills(
    agent: SkillPolicy | Master,
    on: str | Sequence[str] = TRAIN,
    *,
    moments: int = 125,
    skill: int | None = None,
    seed: int | None = None,
    saliency: str | Sequence[str] = DEFAULT_MAP,
    quantile: float = DEFAULT_QUANTILE,
    of: str = VELOCITY,
    progress: bool = True,
) -> list[Seen]:
    """Play one episode under each condition and see what the skills look at.

    Args:
        agent: cloned skills, which follow the script, or a master that chooses among them.
        on: ``"train"`` or names of ``foveal.skills.conditions.CONDITIONS``.
        moments: at most this many per episode, at even distances.
        skill: see this skill alone, the others being done by the scripted experts.
        seed: of the episode; by default evaluation's first.
        saliency: names of maps in ``foveal.saliency``.
        quantile: of the mask.
        of: what they are maps of, ``"velocity"`` or ``"gripper"``: see ``foveal.skills.saliency.scalar_of``.
        progress: show a bar.

    Returns:
        One for each condition and map; those of one condition share their episode and stand together.

    Raises:
        FovealError: a name is unknown, a number is out of range, or a master has no skills that look.
    """
    policy, names = skills_of(agent), map_names(saliency)
    conditions = _conditions(on)
    _check(policy, names, quantile, of, moments)
    exact, control = in_float32(policy), untrained(policy)
    found = []
    for condition in conditions:
        every = 1 if skill is not None else -(-_limit(policy) // moments)
        recording = record(agent, condition, skill=skill, seed=seed, every=every, progress=progress)
        shown = recording.sightings[:: -(-len(recording.sightings) // moments)]
        found += [_seen(exact, control, recording, shown, name, quantile, of) for name in names]
    return found


def explain_skills(
    agent: SkillPolicy | Master,
    on: str | Sequence[str],
    out: str | Path,
    *,
    frames: int = 6,
    moments: int = 125,
    skill: int | None = None,
    seed: int | None = None,
    saliency: str | Sequence[str] | None = None,
    quantile: float | None = None,
    of: str | None = None,
    video: str | Path | None = None,
    progress: bool = True,
) -> Path:
    """Let skills act in an episode, and write a page and maybe a film of what they look at.

    ``foveal.explain`` calls this, and has checked frames and places; arguments and errors are described there.
    """
    of = VELOCITY if of is None else of
    found = look_at_skills(
        agent,
        on,
        moments=moments if video is None else _limit(skills_of(agent)),
        skill=skill,
        seed=seed,
        saliency=DEFAULT_MAP if saliency is None else saliency,
        quantile=DEFAULT_QUANTILE if quantile is None else quantile,
        of=of,
        progress=progress,
    )
    if video is not None:
        film_of(video, [seen.attention for seen in found])
        found = [replace(seen, attention=seen.attention.thinned(moments)) for seen in found]
    return skills_page(out, found, agent, skill=skill, of=of, frames=frames)


def skills_page(
    out: str | Path,
    found: Sequence[Seen],
    agent: SkillPolicy | Master,
    *,
    skill: int | None = None,
    of: str = VELOCITY,
    frames: int = 6,
) -> Path:
    """The page of ``explain`` for skills, from what ``look_at_skills`` found; its arguments."""
    played = episodes([seen.attention for seen in found])
    first, policy = played[0][0], skills_of(agent)
    page = Explanation(
        "What the gripper looks at in",
        first.environment,
        _lede(agent, skill, of, first.episode.seed),
        [share_table(found), *([agreement_table(played)] if len(played[0]) > 1 else [])],
        _guide(played[0], policy, of),
        panels(played, frames),
    )
    config = {"skills": as_dict(policy.skill_set), "cloning": as_dict(policy.config)}
    return write_page(out, "explain.html.j2", title=f"{page.heading} {first.environment}", page=page, config=config)


def share_table(found: Sequence[Seen]) -> Table:
    """How much of each map lies on each part: a row for every skill of every episode."""
    several = len({seen.attention.saliency for seen in found}) > 1
    parts = list(next(iter(found[0].shares.values())))
    rows: list[Line] = []
    for seen in found:
        under = f"{seen.attention.perturbation}, {map_name(seen.attention.saliency)}"
        where = under if several else seen.attention.perturbation
        rows += [
            [Cell(name, small=(where,)), *(_cell(shares[part]) for part in parts)]
            for name, shares in seen.shares.items()
        ]
    caption = (
        "How many times its share of the picture a part has of the saliency "
        f"(1{TIMES} is a map that is the same everywhere), and below it these two shares, and the same of a network "
        "that has learned nothing: what that finds is in edges and in the network's shape. Means over the moments "
        "shown; the simulator's segmentation tells which pixels are whose."
    )
    return Table(caption, ["", *parts], rows)


def _cell(share: Share) -> str | Cell:
    if share.ratio is None:
        return "not seen"
    shares = f"{percent(share.saliency)} of {percent(share.pixels)}"
    return Cell(times(share.ratio), small=(shares, f"untrained {times(share.untrained / share.pixels)}"))


def _seen(
    policy: SkillPolicy,
    control: SkillPolicy,
    recording: Recording,
    shown: Sequence[Sighting],
    saliency: str,
    quantile: float,
    of: str,
) -> Seen:
    frames = np.stack([sighting.frames for sighting in shown])
    skill = np.array([sighting.skill for sighting in shown])
    strengths, values = look(policy, frames, skill, saliency=saliency, of=of)
    chance, _ = look(control, frames, skill, saliency=saliency, of=of)
    masks = quantile_mask(torch.from_numpy(strengths)[:, None].expand(-1, CHANNELS, -1, -1), quantile)[:, 0].numpy()
    pictures = _pictures(policy, frames[:, -1])
    names = policy.skill_set.names
    moments = tuple(
        Moment(sighting.step, picture, strength, mask, float(value), note=names[sighting.skill])
        for sighting, picture, strength, mask, value in zip(shown, pictures, strengths, masks, values, strict=True)
    )
    attention = Attention(
        environment=f"ur5e/{recording.task}",
        perturbation=recording.condition,
        source=None,
        episode=recording.episode,
        rewards=recording.rewards,
        moments=moments,
        saliency=saliency,
        quantile=quantile,
        wording=WORDINGS[of],
    )
    groups = {"all": np.ones(len(skill), np.bool_)} if len(set(skill.tolist())) > 1 else {}
    groups |= {names[number]: skill == number for number in dict.fromkeys(skill.tolist())}
    shares = {name: dict(_shares(shown, strengths, chance, members)) for name, members in groups.items()}
    return Seen(attention, shares)


def _shares(
    shown: Sequence[Sighting],
    strengths: NDArray[np.float32],
    chance: NDArray[np.float32],
    members: NDArray[np.bool_],
) -> Iterator[tuple[str, Share]]:
    masks = {part: np.stack([sighting.parts[part] for sighting in shown])[members] for part in shown[0].parts}
    masks["elsewhere"] = ~np.any(list(masks.values()), axis=0)
    for part, inside in masks.items():
        yield part, Share(_on(strengths[members], inside), _on(chance[members], inside), float(inside.mean()))


def _on(strengths: NDArray[np.float32], masks: NDArray[np.bool_]) -> float:
    """Mean over pictures, (M, H, W), of the share of each one's saliency that lies within its mask."""
    whole = strengths.sum((1, 2), dtype=np.float64)
    inside = np.where(masks, strengths, 0.0).sum((1, 2), dtype=np.float64)
    shares = inside[whole > 0.0] / whole[whole > 0.0]
    return float(shares.mean()) if len(shares) else 0.0


def _pictures(policy: SkillPolicy, frames: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """(M, H, W) millimetres -> (M, H, W, 3): as the network sees them, near is bright."""
    grey = (127.5 * (1.0 - policy.input(frames))).round().to(torch.uint8)
    return grey[..., None].expand(*grey.shape, 3).numpy()


def _limit(policy: SkillPolicy) -> int:
    """Control steps of the longest episode."""
    known = TASKS.get(policy.skill_set.task)
    if known is None:
        raise FovealError("these skills do not say of which task they are, so they can't be tried in the simulator")
    return known.steps


def _conditions(on: str | Sequence[str]) -> tuple[str, ...]:
    names = tuple("training" if name == TRAIN else name for name in ((on,) if isinstance(on, str) else on))
    for name in names:
        if name not in CONDITIONS:
            raise FovealError(f"unknown condition {name!r} of an arm: {nearest(name, [TRAIN, *CONDITIONS])}")
    if not names or len(set(names)) < len(names):
        raise FovealError(f"name each condition once: {', '.join(CONDITIONS)}")
    return names


def _check(policy: SkillPolicy, names: Sequence[str], quantile: float, of: str, moments: int) -> None:
    if BUILT_IN in names:
        raise FovealError(f"skills have no attention module: choose of the maps {', '.join(SALIENCY.names())}")
    for name in names:
        SALIENCY.get(name)
    scalar_of(policy, [0], of)
    check_numbers(moments, quantile)


def _lede(agent: SkillPolicy | Master, skill: int | None, of: str, seed: int) -> str:
    policy = skills_of(agent)
    if skill is not None:
        who = f"of the skill “{policy.skill_set.names[skill]}”, scripted experts doing the others"
    elif isinstance(agent, Master):
        who = "in which a master chooses among cloned skills"
    else:
        who = "of cloned skills in the order of the script" if policy.skills > 1 else "of one cloned skill"
    return (
        f"One episode {who} under each condition, and the pixels of depth that change {_MEANT[of]} most. Seed {seed}."
    )


def _guide(played: Sequence[Attention], policy: SkillPolicy, of: str) -> list[tuple[str, str]]:
    config = policy.config
    newest, summed = "", ""
    if config.stack > 1:
        newest, summed = f", the newest of {config.stack} frames", f" Summed over the {config.stack} frames."
    near, far = f"{config.near:g} m and nearer is white", f"{config.far:g} m and further black"
    depth = f"depth as the network sees it{newest}: {near}, {far}"
    terms = [("frame", depth)]
    for attention in played:
        name = map_name(attention.saliency) if len(played) > 1 else "saliency"
        meaning = map_meaning(attention.saliency, f"{_MEANT[of]}, one step ahead")
        terms.append((name, f"{meaning}.{summed} The frame beneath is in grey"))
    kept = 100 * (1 - (played[0].quantile or 0.0))
    terms.append(("mask", f"the {kept:.3g} % of pixels with the highest saliency"))
    return terms
