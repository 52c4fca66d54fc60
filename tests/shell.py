"""The installed command, in a shell of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(sys.executable).with_name("foveal")


def foveal_command(*arguments: str, folder: Path, python_path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """``foveal ARGUMENTS`` in a shell."""
    path = {} if python_path is None else {"PYTHONPATH": str(python_path)}
    return subprocess.run(
        [str(SCRIPT), *arguments],
        cwd=folder,
        env={**os.environ, **path},
        capture_output=True,
        text=True,
        timeout=290,
        check=False,
    )
