"""What `make release` put into dist/: is everything in the wheel, and does it work where nothing else is installed?

python scripts/check_release.py            # contents of dist/
python scripts/check_release.py --install  # also README's "In Python" from the wheel, in an empty virtual environment
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WANTED = (
    "foveal/py.typed",
    "foveal/explanation/page.css",
    "foveal/explanation/compare.js",
    "foveal/explanation/player.js",
    "foveal/explanation/transport.js",
    "foveal/explanation/templates/audit.html.j2",
    "foveal/explanation/templates/base.html.j2",
    "foveal/explanation/templates/bench.html.j2",
    "foveal/explanation/templates/charts.svg.j2",
    "foveal/explanation/templates/demo.html.j2",
    "foveal/explanation/templates/episode.html.j2",
    "foveal/explanation/templates/explain.html.j2",
    "foveal/explanation/templates/growth.svg.j2",
    "foveal/explanation/templates/parts.html.j2",
    "foveal/explanation/templates/progress.html.j2",
    "foveal/explanation/templates/shield.html.j2",
    "foveal/explanation/templates/watch.html.j2",
    "foveal/networks/kernels/winograd.c",
    "foveal/data/demo-sac-compact-generated.json",
    "foveal/data/published.yaml",
    "foveal/data/suites/dmc-cpu.yaml",
    "foveal/data/suites/dmc-gb.yaml",
    "foveal/pretrained/walker-stand-sgqn/manifest.json",
    "foveal/pretrained/walker-stand-sgqn/state.json",
    "foveal/pretrained/walker-stand-sgqn/tensors.safetensors",
    "foveal/pretrained/shields/walker-stand/manifest.json",
    "foveal/pretrained/shields/walker-stand/state.json",
    "foveal/pretrained/shields/walker-stand/tensors.safetensors",
)
"""What a wheel holds beside Python files."""
SMALL = (
    ('learner="sac")', 'learner="sac", preset="debug")'),
    ("500_000", "60"),
    ("episodes=30", "episodes=1"),
    ("action, _ =", "obs, _ = foveal.envs.make(agent.env_id, **agent.env_options).reset(seed=0)\naction, _ ="),
    ('agent.export("policy.onnx")', 'refused_for_its_extra(lambda: agent.export("policy.onnx"))'),
)
"""What makes README's code small; each is there exactly once. Without the extra, export must say what to install."""
BEFORE = """
import foveal.envs

def refused_for_its_extra(export):
    try:
        export()
    except foveal.FovealError as error:
        assert "foveal[onnx]" in str(error), error
    else:
        raise AssertionError("onnx is installed: this environment was to be empty")

"""
AFTER = """
from pathlib import Path


assert action.shape == (6,) and set(scores.as_dict()) and Path("walker.html").stat().st_size > 10_000
assert foveal.__file__.startswith(__import__("sys").prefix), foveal.__file__
"""


def check_contents(dist: Path) -> Path:
    """The one wheel in a folder, of pyproject's version, complete, with nothing of the repository around it."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    wheel, sdist = dist / f"foveal-{version}-py3-none-any.whl", dist / f"foveal-{version}.tar.gz"
    found = {path.name for path in dist.iterdir()}
    assert found == {wheel.name, sdist.name}, f"dist/ must hold one wheel and one sdist of {version}, not {found}"
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src" / "foveal").rglob("*.py")}
    missing = (sources | set(WANTED)) - names
    assert not missing, f"{wheel.name} lacks {sorted(missing)}"
    foreign = {name for name in names if not name.startswith(("foveal/", f"foveal-{version}.dist-info/"))}
    assert not foreign, f"{wheel.name} holds {sorted(foreign)}"
    with tarfile.open(sdist) as archive:
        held = set(archive.getnames())
    needed = {f"foveal-{version}/{name}" for name in ("pyproject.toml", "LICENSE", "README.md", "constraints.txt")}
    needed |= {f"foveal-{version}/src/{name}" for name in sources | set(WANTED)}
    assert needed <= held, f"{sdist.name} lacks {sorted(needed - held)}"
    return wheel


def snippet() -> str:
    """README's first Python code, made small."""
    found = re.search(r"## In Python\n+```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found, "README has no Python code under 'In Python'"
    code = found[1]
    for before, after in SMALL:
        assert code.count(before) == 1, f"README's code holds {before!r} {code.count(before)} times"
        code = code.replace(before, after)
    return BEFORE + code + AFTER


def check_installed(wheel: Path) -> None:
    """README's code in a virtual environment that holds the wheel and what it needs, and no extra."""
    constraints = ROOT / "constraints.txt"
    (torch,) = re.findall(r"^torch==.*", constraints.read_text(), re.MULTILINE)
    with tempfile.TemporaryDirectory() as folder:
        venv.create(Path(folder) / "venv", with_pip=True)
        python = str(Path(folder) / "venv" / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, torch], check=True)  # alone: see the Makefile
        subprocess.run([*pip, "--constraint", str(constraints), str(wheel)], check=True)
        (Path(folder) / "readme.py").write_text(snippet())
        subprocess.run([python, "-I", "-W", "error::DeprecationWarning:foveal", "readme.py"], cwd=folder, check=True)


def main() -> None:
    """Check, or end with what is wrong."""
    wheel = check_contents(ROOT / "dist")
    if "--install" in sys.argv[1:]:
        check_installed(wheel)
    print(f"{wheel.name} is complete" + (" and works alone" if "--install" in sys.argv[1:] else ""))


if __name__ == "__main__":
    main()
