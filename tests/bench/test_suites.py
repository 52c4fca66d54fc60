"""Suites: those that ship, and what is said of a file in which something is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench_suites import TASK, write_suite
from foveal.agent import Agent
from foveal.bench.grids import Asked, departures, jobs_of, names_of, seeds_of
from foveal.bench.jobs import flag
from foveal.bench.running import options_of
from foveal.bench.suites import load_suite, suite_names
from foveal.errors import FovealError
from foveal.evaluation.pixel_world import pixel_world

DMC_GB = ["walker-walk", "walker-stand", "ball_in_cup-catch", "cartpole-swingup", "finger-spin", "cheetah-run"]


@pytest.mark.slow
@pytest.mark.parametrize("name", suite_names())
def test_suites_that_ship_can_be_run(name: str, tmp_path: Path) -> None:
    suite = load_suite(name)
    jobs = jobs_of(suite, Asked(tmp_path))
    assert len(jobs) == len(suite.tasks) * len(suite.methods) * len(suite.learners) * len(suite.seeds)
    assert len({job.folder for job in jobs}) == len(jobs)


@pytest.mark.slow
def test_dmc_gb_is_the_published_protocol(tmp_path: Path) -> None:
    jobs = jobs_of(load_suite("dmc-gb"), Asked(tmp_path, methods=("svea",)))
    assert {job.task for job in jobs} == {f"dmc/{task}" for task in DMC_GB}
    assert {job.seed for job in jobs} == set(range(5))
    for job in jobs:
        config = job.config()
        assert (job.steps, job.episodes, job.quality) == (500_000, 100, "exact")
        assert job.conditions == ("train", "color_easy", "color_hard", "video_easy", "video_hard")
        assert (config.training.batch_size, config.environment.image_size) == (128, 84)
        assert config.environment.action_repeat is None  # the benchmark's own
        assert config.environment.quality == "exact"


@pytest.mark.slow
@pytest.mark.parametrize(("data", "quality"), [(None, "draft"), ("somewhere", "exact")])
def test_the_trained_look_is_rendered_as_what_it_is_compared_with(
    data: str | None, quality: str, tmp_path: Path
) -> None:
    """The generalisation gap is of looks of one quality, and the benchmark's data are shown in the best one."""
    job = replace(jobs_of(load_suite("dmc-cpu"), Asked(tmp_path))[0], data=data)
    agent = Agent.from_config(job.config())
    looks = [options_of(job, condition) for condition in job.conditions]
    assert [look.data for look in looks] == [data] * 4
    assert [pixel_world(agent, look).options["quality"] for look in looks] == [quality] * 4


def test_data_may_move_but_not_come_or_go(tmp_path: Path) -> None:
    job = replace(jobs_of(load_suite("dmc-cpu"), Asked(tmp_path))[0], data="here")
    job.save()
    replace(job, data="there").save()
    with pytest.raises(FovealError, match="was begun with data 'there', and this call has None"):
        replace(job, data=None).save()


@pytest.mark.slow
def test_dmc_gb2_acts_every_second_step(tmp_path: Path) -> None:
    for job in jobs_of(load_suite("dmc-gb2-geometric"), Asked(tmp_path)):
        assert job.config().environment.action_repeat == 2
        assert (job.steps, len(job.conditions), job.episodes) == (500_000, 7, 100)


@pytest.mark.slow
def test_games_differ_by_their_network(tmp_path: Path) -> None:
    jobs = jobs_of(load_suite("atari-fls"), Asked(tmp_path, seeds=(1,)))
    assert {(job.method, job.config().learner_config.encoder.name) for job in jobs} == {
        ("nature", "nature"),
        ("sparse-fls", "sparse-fls"),
    }
    assert len({job.task for job in jobs}) == 6


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"stepz": 3}, "unknown key 'stepz' in a suite: did you mean 'steps'"),
    ({"steps": None}, "a suite must say 'steps'"),
    ({"steps": "many"}, "steps must be a whole number of at least 1, not 'many'"),
    ({"steps": True}, "steps must be a whole number"),
    ({"episodes": 0}, "episodes must be a whole number of at least 1"),
    ({"methods": ["sgqm"]}, "unknown method 'sgqm': did you mean 'sgqn'"),
    ({"methods": "sgqn"}, "methods must be a list of names"),
    ({"methods": ["svea", "svea"]}, "methods has a name twice"),
    ({"learners": ["sax"]}, "unknown learner 'sax'"),
    ({"tasks": ["dmc/walker-wak"]}, "unknown task 'dmc/walker-wak': did you mean 'dmc/walker-walk'"),
    ({"tasks": {TASK: {"seeds": [1]}}}, f"unknown key 'seeds' in the task {TASK}"),
    ({"tasks": {TASK: {"steps": -1}}}, "steps must be a whole number"),
    ({"tasks": {TASK: {"conditions": ["rain"]}}}, "unknown condition 'rain'"),
    ({"conditions": ["train", "video_herd"]}, "unknown condition 'video_herd' of .*: did you mean 'video_hard'"),
    ({"preset": "papre"}, "preset must be one of paper, compact, debug"),
    ({"quality": "best"}, "quality must be one of exact, fast, draft"),
    ({"data": "imagenet"}, "data must be one of none, dmc-gb, davis"),
    ({"seeds": [0, 0]}, "seeds must be a list of different whole numbers"),
    ({"seeds": [-1]}, "seeds must be a list of different whole numbers"),
    ({"shield": 3}, "shield must hold values by name"),
    ({"settings": [1]}, "settings must hold values by name"),
    ({"variants": {"mine": {"method": "svoa"}}}, "unknown method 'svoa'"),
    ({"variants": {"mine": {"metod": "svea"}}}, "unknown key 'metod' in the variant mine"),
    ({"variants": {"mine": {}}}, "the variant mine must say 'method'"),
    ({"variants": {"a/b": {"method": "svea"}}}, "the variant 'a/b' becomes part of a path"),
    ({"about": ""}, "about must be a text"),
]


@pytest.mark.parametrize(("changed", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_what_is_wrong_is_said_with_the_file(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write_suite(tmp_path, **changed)
    with pytest.raises(FovealError, match=f"^{path}: {message}"):
        load_suite(str(path))


def test_files_that_are_no_suite(tmp_path: Path) -> None:
    for text, message in [("a: [", "is not YAML"), ("- 1", "a suite must hold values by name")]:
        path = tmp_path / "my.yaml"
        path.write_text(text)
        with pytest.raises(FovealError, match=message):
            load_suite(str(path))
    with pytest.raises(FovealError, match="can't read the suite"):
        load_suite(str(tmp_path / "none.yaml"))
    with pytest.raises(FovealError, match="unknown suite 'dmc-bg': did you mean 'dmc-gb'"):
        load_suite("dmc-bg")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"settings": {"training.batch_sise": 3}}, "batch_sise"),
        ({"settings": {"evaluate_evry": 3}}, "evaluate_evry"),
        ({"settings": {"training.batch_size": "big"}}, "training.batch_size must be int"),
        ({"shield": {"filtres": 3}}, "filtres"),
    ],
)
def test_settings_are_checked_before_anything_begins(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    suite = load_suite(str(write_suite(tmp_path, **changed)))
    with pytest.raises(FovealError, match=message):
        jobs_of(suite, Asked(tmp_path))


def test_tasks_and_variants_say_what_is_other(tmp_path: Path) -> None:
    path = write_suite(
        tmp_path,
        tasks={TASK: None, "dmc/walker-walk": {"steps": 5, "episodes": 2, "settings": {"training.batch_size": 3}}},
        methods=["none", "wide"],
        variants={"wide": {"method": "sgqn", "settings": {"sgqn.quantile": 0.5, "training.batch_size": 4}}},
    )
    jobs = {(job.task, job.method): job for job in jobs_of(load_suite(str(path)), Asked(tmp_path))}
    assert (jobs[TASK, "none"].steps, jobs["dmc/walker-walk", "none"].steps) == (76, 5)
    assert jobs["dmc/walker-walk", "none"].config().training.batch_size == 3
    wide = jobs["dmc/walker-walk", "wide"]
    assert (wide.composed, wide.episodes, wide.config().training.batch_size) == ("sgqn", 2, 4)
    assert wide.config().method_config.quantile == 0.5
    assert "sac-wide" in str(wide.folder) and "--method sgqn" in wide.command


def test_a_call_may_ask_for_other_things(tmp_path: Path) -> None:
    suite = load_suite(str(write_suite(tmp_path, data="dmc-gb")))
    asked = Asked(tmp_path, methods=("svea", "drq"), seeds=(3, 4), steps=7, episodes=2, preset="compact", shield=True)
    jobs = jobs_of(suite, asked)
    assert [(job.seed, job.method) for job in jobs] == [(3, "svea"), (3, "drq"), (4, "svea"), (4, "drq")]
    assert {(job.steps, job.episodes, job.preset) for job in jobs} == {(7, 2, "compact")}
    assert jobs[0].cell().shield == "shield"
    told = departures(suite, asked)
    assert told[:3] == ["steps 7 instead of 76", "episodes 2 instead of 1", "preset compact instead of debug"]
    assert "generated" in told[3] and len(told) == 4
    assert departures(suite, Asked(tmp_path, steps=76, data=tmp_path)) == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"tasks": ("dmc/cartpole-balance",)}, "has no task 'dmc/cartpole-balance'"),
        ({"methods": ("sgqm",)}, "unknown method 'sgqm'"),
        ({"learners": ("sad",)}, "unknown learner 'sad'"),
        ({"learners": ("ppo",), "methods": ("svea",)}, "leave the method out"),
        ({"steps": 0}, "steps must be at least 1"),
    ],
)
def test_a_call_is_checked(asked: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(FovealError, match=message):
        jobs_of(load_suite(str(write_suite(tmp_path))), Asked(tmp_path, **asked))


def test_seeds_and_names_as_people_write_them() -> None:
    assert seeds_of("0-4") == (0, 1, 2, 3, 4)
    assert seeds_of("3, 7-8") == (3, 7, 8)
    assert names_of(" svea, sgqn ") == ("svea", "sgqn")
    assert names_of(None) is None
    for text in ("", "a", "4-1", "1-", "-3", "1,1"):
        with pytest.raises(FovealError, match="--seeds"):
            seeds_of(text)


def test_settings_become_flags() -> None:
    assert flag("training.batch_size", 64) == ["--training.batch-size", "64"]
    assert flag("evaluate_on", ("train", "video_hard")) == ["--evaluate-on", "train", "video_hard"]
    assert flag("training.cuda_graphs", False) == ["--training.no-cuda-graphs"]
    assert flag("adapt_threads", True) == ["--adapt-threads"]
