"""The command line: ``foveal COMMAND``, one module of ``foveal.commands`` each."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from foveal import __version__
from foveal.errors import FovealError
from foveal.machine.allocator import keep_freed_memory
from foveal.registry import nearest

USAGE = """foveal: pixel policies that look at what matters

  foveal train ENV        train an agent on a task, e.g. foveal train dmc/walker-walk --method sgqn
  foveal watch RUN        its curves and its newest checkpoint in a browser, while it trains
  foveal evaluate AGENT   returns where it was trained and under visual change
  foveal explain AGENT    a page that shows what it looks at
  foveal shield train ... a network before a finished agent, which gives it the picture that it knows
  foveal audit MODEL      anybody's policy: which changes of the picture break it, and whether it looks at all
  foveal export AGENT     the policy as one ONNX file, with a shield before it where one is named
  foveal gaze AGENT ...   how its saliency compares with where people looked, on Atari
  foveal list             learners, methods, encoders, maps, perturbations, environments: what has a name
  foveal demo             all three on a small task, in one page
  foveal bench            run a suite of trainings, report what runs say; how fast training and rendering are here
  foveal data check DIR   what of the benchmarks' colours, videos and pictures is there, and whether it is whole

A robot arm, from demonstrations to a policy over skills:

  foveal demos collect ENV    scripted experts show each skill, e.g. foveal demos collect ur5e/bowl --out demos/bowl
  foveal skills train DEMOS   clone the skills; foveal skills evaluate SKILLS: whether each ends what it begins
  foveal master train ENV     a master policy chooses among them
  foveal arm run POLICY       a policy on a real arm, within limits; foveal arm unlock after a protective stop
  foveal arm record ...       move a real arm by hand and record it; foveal arm calibrate: where its camera stands

AGENT is a run's folder, a folder that save wrote, or pretrained:NAME; of the arm's policies too. `foveal COMMAND
--help` lists a command's options, `foveal --version` prints the version.
"""
COMMANDS = [
    "train",
    "watch",
    "evaluate",
    "explain",
    "shield",
    "audit",
    "export",
    "gaze",
    "demos",
    "skills",
    "master",
    "arm",
    "list",
    "demo",
    "bench",
    "data",
]
SPINS = "10000"
"""How often PyTorch's idle threads look for work before they sleep (GNU OpenMP). By default they look for milliseconds,
which on a machine that has other things to do makes training many times slower."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status. A user's mistake prints one line and gives status 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(USAGE, end="")
        return 0
    name, *rest = arguments
    if name == "--version":
        print(__version__)
        return 0
    if name not in COMMANDS:
        return _fail(f"unknown command {name!r}: {nearest(name, COMMANDS)}")
    let_idle_threads_sleep()
    keep_freed_memory()
    try:
        # Imported when called, so that `foveal --help` does not wait for PyTorch.
        importlib.import_module(f"foveal.commands.{name}").main(rest)
    except FovealError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        print("\nfoveal: interrupted", file=sys.stderr)
        return 130
    return 0


def let_idle_threads_sleep() -> None:
    """Set ``GOMP_SPINCOUNT``, unless the user has decided; GNU OpenMP reads it when PyTorch is first imported."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def _fail(message: str) -> int:
    print(f"foveal: error: {message}", file=sys.stderr)
    return 2
