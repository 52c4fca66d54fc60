"""Where a policy acts: environments of anybody's, by id or as objects, and what of them is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from foveal.auditing.adapters import AdapterOptions, adapted
from foveal.auditing.cameras import cameras_of
from foveal.auditing.places import mask_of, place_for
from small_policies import SIDE, Sides, Told, looking

FUNCTION = adapted(looking, AdapterOptions())


def sees(*shape: int) -> Any:
    space = spaces.Box(0, 255, shape, np.uint8)
    return adapted(SimpleNamespace(observation_space=space, predict=lambda seen: 0), AdapterOptions())


def test_foveals_environments_are_made_in_the_size_that_the_policy_sees_with_single_frames() -> None:
    assert place_for(sees(9, 64, 64), "dmc/walker-walk").options == {"frame_stack": 1, "image_size": 64}
    assert place_for(FUNCTION, "foveal/dmc-walker-walk-v0").options == {"frame_stack": 1, "image_size": 84}
    assert place_for(FUNCTION, "CarRacing-v3").options is None


def test_perturbations_of_the_simulator_are_possible_in_foveals_environments_alone() -> None:
    dmc = place_for(FUNCTION, "dmc/walker-walk")
    assert "color_hard" in dmc.possible and dmc.usual == ("color_hard", "video_hard")
    assert place_for(FUNCTION, Sides()).possible == place_for(FUNCTION, "CarRacing-v3").possible == ()


def test_a_policy_of_foveals_brings_its_environment_and_another_may_be_named() -> None:
    own = SimpleNamespace(
        env_id="dmc/walker-stand", env_options={"image_size": 84, "frame_stack": 3}, predict=lambda seen: (0, None)
    )
    adapter = adapted(own, AdapterOptions())
    assert (place_for(adapter, None).name, place_for(adapter, None).options) == ("dmc/walker-stand", own.env_options)
    assert place_for(adapter, "dmc/walker-walk").name == "dmc/walker-walk"


def test_of_a_vector_environment_the_first_one_is_taken() -> None:
    first = Sides()
    stacked = SimpleNamespace(venv=SimpleNamespace(venv=SimpleNamespace(envs=[first, Sides()])))
    with place_for(FUNCTION, stacked).open() as env:
        assert env is first
    assert not first.closed


def test_masks_are_known_where_the_environment_tells_them_for_its_pictures() -> None:
    env = Told()
    env.reset(seed=0)
    mask = mask_of(env, cameras_of(env.observation_space))
    assert mask is not None and mask.shape == (SIDE, SIDE) and mask.sum() == 16 * 12
    assert mask_of(Sides(), cameras_of(Sides().observation_space)) is None
    smaller: Any = gymnasium.wrappers.ResizeObservation(env, (20, 20))
    assert mask_of(smaller, cameras_of(smaller.observation_space)) is None


@pytest.mark.parametrize(
    ("env", "name"), [(Sides, "Sides"), (Sides(), "Sides"), ("CarRacing-v3", "CarRacing-v3"), (lambda: 0, "<lambda>")]
)
def test_places_have_names(env: Any, name: str) -> None:
    assert place_for(FUNCTION, env).name == name
