"""``foveal export``: a policy as one ONNX file, alone or behind a shield."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from foveal.commands.plugins import import_plugins
from foveal.commands.shield import behind
from foveal.explanation.explain import check_writable
from foveal.loading import load


@dataclass(frozen=True)
class ExportOptions:
    """Write a deterministic policy as ONNX, checked against PyTorch; it then runs without foveal.

    Attributes:
        agent: a run's folder, a folder that agent.save wrote, or pretrained:NAME.
        out: the file.
        shield: a shield to stand before the policy, in the same file: a folder, or pretrained:NAME. The file then gives
            the shield's doubt beside the action.
        plugins: module that registers your own environments or methods.
    """

    agent: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="AGENT")]]
    out: Path = Path("policy.onnx")
    shield: str | None = None
    plugins: Annotated[str | None, tyro.conf.arg(name="import")] = None


def main(arguments: Sequence[str]) -> None:
    """Write the file and print its path."""
    options = tyro.cli(ExportOptions, args=import_plugins(arguments), prog="foveal export")
    check_writable(options.out, "policy.onnx")
    print(behind(options.shield, load(options.agent)).export(options.out))
