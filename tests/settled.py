"""Configurations of pairs whose sources want different settings of the run: the method's are taken."""

from __future__ import annotations

import re
from typing import Any

from foveal.config.tree import Config, configure
from foveal.errors import FovealError

QUESTION = re.compile(r"^(\w+) wants (\w+)\.(\w+) = .* and (\w+) wants .*: decide by setting \2\.\3 yourself$")


def decided(env: str, method: str, learner: str, preset: str) -> tuple[Config, dict[str, dict[str, Any]]]:
    """The configuration, and what had to be decided for it, by section."""
    decisions: dict[str, dict[str, Any]] = {}
    while True:
        try:
            return configure(env, method, learner, preset, overrides=decisions), decisions
        except FovealError as error:
            question = QUESTION.match(str(error))
            if question is None:
                raise
            section, key = question.group(2), question.group(3)
            decisions.setdefault(section, {})[key] = wanted(method, preset, section, key)


def wanted(method: str, preset: str, section: str, key: str) -> Any:
    """What the method's source wants of the run."""
    from foveal.methods import METHODS

    presets = METHODS.get(method).run_presets
    both = {**presets.get("*", {}).get(section, {}), **presets.get(preset, {}).get(section, {})}
    return both[key]
