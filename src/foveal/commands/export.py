"""``foveal export``: a policy as one ONNX file, alone or behind a shield; or as a small folder for foveal itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from foveal.commands.plugins import import_plugins
from foveal.commands.shield import behind
from foveal.errors import FovealError
from foveal.explanation.explain import check_writable
from foveal.loading import load
from foveal.training.run_folder import refuse_existing


@dataclass(frozen=True)
class ExportOptions:
    """Write a deterministic policy as ONNX, checked against PyTorch; it then runs without foveal. Or make it small.

    Attributes:
        agent: a run's folder, a folder that agent.save wrote, or pretrained:NAME.
        out: the file, or with --policy-only the folder; by default policy.onnx, or policy.
        shield: a shield to stand before the policy, in the same file: a folder, or pretrained:NAME. The file then gives
            the shield's doubt beside the action.
        policy_only: write a folder for foveal itself: what acting and explaining need, in half precision, several times
            smaller than a run, to share or to keep.
        plugins: module that registers your own environments or methods.
    """

    agent: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="AGENT")]]
    out: Path | None = None
    shield: str | None = None
    policy_only: bool = False
    plugins: Annotated[str | None, tyro.conf.arg(name="import")] = None


def main(arguments: Sequence[str]) -> None:
    """Write the file or the folder, and print its path."""
    options = tyro.cli(ExportOptions, args=import_plugins(arguments), prog="foveal export")
    if options.policy_only:
        print(_policy(options, options.out or Path("policy")))
        return
    out = options.out or Path("policy.onnx")
    check_writable(out, "policy.onnx")
    print(behind(options.shield, load(options.agent)).export(out))


def _policy(options: ExportOptions, out: Path) -> Path:
    if options.shield is not None:
        raise FovealError("a shield is a folder of its own: leave --shield out, or leave --policy-only out for ONNX")
    refuse_existing(out)
    agent: Any = load(options.agent)
    if not hasattr(agent, "updater"):  # whose optimizers and target networks are what is left out
        raise FovealError(f"{options.agent} is as small as it can be: copy the folder, or leave --policy-only out")
    return agent.save(out, policy_only=True)
