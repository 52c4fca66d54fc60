"""benchmarks/filming.py: films show the episodes that were played."""

from __future__ import annotations

import av
import pytest

pytest.importorskip("h5py", reason='needs the extra "skills"')

from filming import HEIGHT, film

from foveal.envs.ur5e.experts import script
from foveal.skills.arms import ArmSettings
from foveal.skills.rollouts import InOrder, play
from foveal.skills.seeds import EVALUATION
from foveal.skills.view import View


@pytest.mark.slow
def test_a_film_shows_the_episode_that_was_played(tmp_path):
    settings, plan = ArmSettings("pick", View(36, 36)), InOrder(script("pick"))
    (outcome,) = play(settings, plan, None, [EVALUATION])
    path = film(tmp_path / "pick.mp4", settings, plan, None, EVALUATION, 60)
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert outcome.success and len(frames) == outcome.steps + 1 + 20  # the last picture stays for a second
    assert frames[0].shape == (HEIGHT + 24, 2 * HEIGHT, 3)
    assert (frames[-1].astype(int) - frames[0]).std() > 10.0  # the arm has moved, and the caption tells
    assert film(tmp_path / "solved.mp4", settings, plan, None, EVALUATION, 60, wanted=True)
    assert film(tmp_path / "failed.mp4", settings, plan, None, EVALUATION, 60, wanted=False) is None
    assert not (tmp_path / "failed.mp4").exists()
