"""What the documentation shows must work: its code, its commands, its links."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest

from foveal.cli import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("[a-z]*/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_code_compiles(page: Path) -> None:
    for code in blocks(page, "python"):
        compile(code, str(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "#")):
            continue
        path = (page.parent / target.partition("#")[0]).resolve()
        assert path.exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_make_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:`|^)make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name} names 'make {target}'"


TWO_WORDS = {"shield", "arm", "bench", "data", "demos", "master", "skills"}
"""Commands whose first argument says what to do, with options of its own."""


def commands() -> list[list[str]]:
    """Every ``foveal ...`` line in the console blocks of the pages, as its words."""
    text = "\n".join(block for page in PAGES for block in blocks(page, "console"))
    lines = {line.partition("#")[0].strip() for line in text.splitlines() if line.startswith("foveal ")}
    return sorted(shlex.split(line)[1:] for line in lines)


@pytest.fixture(scope="module")
def flags() -> Callable[[str, tuple[str, ...]], set[str]]:
    """The flags that a command's ``--help`` lists, by command and the words that decide which there are."""

    @lru_cache
    def read(command: str, decisive: tuple[str, ...]) -> set[str]:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            try:
                status = main([*command.split(), *decisive, "--help"])
            except SystemExit as end:
                status = end.code
        assert not status, f"foveal {command} --help ended with {status}"
        return set(re.findall(r"--[a-z][\w.-]*", said.getvalue()))

    return read


def decisive(rest: list[str]) -> tuple[str, ...]:
    """Of a training's words its environment, and what brings options of its own."""
    chosen = {name: rest[rest.index(name) + 1] for name in ("--method", "--learner", "--encoder") if name in rest}
    env = rest[0] if rest and not rest[0].startswith(("-", "my_")) else "ENV"
    return (env if "/" in env else "ENV", *(word for pair in chosen.items() for word in pair))


@pytest.mark.parametrize("words", commands(), ids=" ".join)
@pytest.mark.slow
def test_commands_have_the_options_they_are_shown_with(
    words: list[str], flags: Callable[[str, tuple[str, ...]], set[str]]
) -> None:
    command, *rest = [" ".join(words[:2]), *words[2:]] if words[0] in TWO_WORDS else words
    known = flags(command, decisive(rest) if command == "train" else ())
    for flag in (word for word in rest if word.startswith("--")):
        assert flag in known, f"foveal {command} has no option {flag}"


CHECK_PLUGIN = """
import numpy as np
import torch
from foveal.augmentations import AUGMENTATIONS
from foveal.envs.family import FAMILIES
from foveal.envs.perturbations import PERTURBATIONS
from foveal.methods import METHODS
from foveal.networks.encoders import ENCODERS
from foveal.saliency import SALIENCY

expected = {AUGMENTATIONS: "negative", FAMILIES: "robot", PERTURBATIONS: "night", METHODS: "quiet", ENCODERS: "patches"}
for registry, name in expected.items():
    assert registry.get(name).__module__ == "plugin", name
saliency = SALIENCY.get("gradient_times_input")
obs = torch.rand(2, 9, 8, 8)
assert torch.allclose(saliency(lambda x: (x**2).sum((1, 2, 3)), obs), 2 * obs**2)

import foveal
import plugin
from small_env import SavedCounter

class Arm(SavedCounter):
    def agent_mask(self):
        return np.zeros((36, 36), bool)

pairs = [("quiet", SavedCounter, "sac"), ("squint", Arm, "sac"), ("squint", lambda: Arm(discrete=True), "dqn")]
METHODS.names()
for method, env, learner in pairs:
    settings = {learner: {"encoder": {"name": "patches", "patch": 9}}}
    training = {"initial_random_steps": 10, "catch_up_updates": 0}
    agent = foveal.Agent(env, method, learner, preset="debug", training=training, **settings)
    agent.learn(14, progress=False, evaluate_every=0)
    assert agent.updates == 5 and type(agent.learner.convolutions) is plugin.Patches
assert foveal.evaluate(plugin.Bright(), episodes=1, progress=False)["train"].returns[0] > 0
page = foveal.explain(plugin.Bright(), "train", plugin.__file__ + ".html", moments=6, of="side", progress=False)
assert "the brightness of the right side" in page.read_text(encoding="utf-8")
print("found all")
"""


def write_plugin(folder: Path, *, with_entry_points: bool) -> None:
    """docs/extending.md as a module outside of the package, installed or not."""
    code = "\n\n".join(blocks(ROOT / "docs" / "extending.md", "python"))
    if with_entry_points:  # as the page says, no decorator is needed then
        code = re.sub(r"^@[A-Z]+\.register\(.*\)\n", "", code, flags=re.MULTILINE)
        points = {
            "foveal.methods": "quiet = plugin:Quiet\nsquint = plugin:Squint",
            "foveal.networks.encoders": "patches = plugin:Patches",
            "foveal.saliency": "gradient_times_input = plugin:gradient_times_input",
            "foveal.envs.perturbations": "night = plugin:Night",
            "foveal.envs": "robot = plugin:Robot",
            "foveal.augmentations": "negative = plugin:Negative",
        }
        info = folder / "plugin-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(
            "".join(f"[{group}]\n{point}\n" for group, point in points.items()), encoding="utf-8"
        )
    (folder / "plugin.py").write_text(code, encoding="utf-8")


def run_python(folder: Path, program: str) -> str:
    path = os.pathsep.join([str(folder), str(ROOT / "src"), str(ROOT / "tests")])
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("with_entry_points", [False, True], ids=["imported", "entry points"])
@pytest.mark.slow
def test_what_extending_shows_is_found_by_name(tmp_path: Path, with_entry_points: bool) -> None:
    write_plugin(tmp_path, with_entry_points=with_entry_points)
    program = CHECK_PLUGIN if with_entry_points else f"import plugin\n{CHECK_PLUGIN}"

    assert "found all" in run_python(tmp_path, program)


@pytest.mark.slow
def test_an_uninstalled_plugin_is_unknown(tmp_path: Path) -> None:
    write_plugin(tmp_path, with_entry_points=False)

    with pytest.raises(AssertionError, match=r"unknown .*'negative'"):
        run_python(tmp_path, CHECK_PLUGIN)
