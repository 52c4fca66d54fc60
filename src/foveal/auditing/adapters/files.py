"""What a model's file looks like, from its first bytes and the names within; those of foveal's own are loaded."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from foveal.checkpoint import kind_of
from foveal.checkpoint.pretrained import PRETRAINED
from foveal.loading import load
from foveal.training.run_folder import CONFIG

PYTHON = "load it in Python, and give foveal.audit a function observation -> action"

MARKS = {
    b"\x89HDF\r\n\x1a\n": "weights of Keras (HDF5)",
    b"\x80": "a Python pickle, which can run any code when it is opened",
    b"\x1f\x8b": "a packed archive: unpack it first",
    b"PK": "a zip file of something else than a policy",
}
"""First bytes -> what they tell."""

FOLDERS = {
    "saved_model.pb": "a SavedModel of TensorFlow",
    "_CHECKPOINT_METADATA": "an Orbax checkpoint of JAX",
    "rllib_checkpoint.json": "a checkpoint of RLlib",
    "config.json": "a folder of LeRobot's, whose policies foveal.auditing.LeRobotPolicy takes, or of transformers'",
    "data.pkl": "a pickled agent",
}
"""A file in a folder -> what that is."""


def looks_like(path: Path) -> str:
    """The end of an error message: what it is, and what to do."""
    if path.is_dir():
        found = next((what for name, what in FOLDERS.items() if (path / name).exists()), None)
        return f"{found}: {PYTHON}" if found else f"a folder without a policy that foveal knows: {PYTHON}"
    names = zip_names(path)
    if any(name.endswith("/data.pkl") for name in names) and not is_torchscript(path):
        return (
            "weights that torch.save wrote, without the network that they belong to: build that network in Python and "
            "give it to foveal.audit within a function, or save it by torch.jit.script or torch.onnx.export"
        )
    if path.suffix.lower() == ".safetensors":
        return f"weights without their network (safetensors): {PYTHON}"
    head = path.read_bytes()[:8]
    found = next((what for mark, what in MARKS.items() if head.startswith(mark)), "no model that foveal knows")
    return f"{found}: {PYTHON}"


def zip_names(path: Path) -> list[str]:
    """Names within a zip file; none where it is no such file."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return []
    with zipfile.ZipFile(path) as packed:
        return packed.namelist()


def is_torchscript(path: Path) -> bool:
    """Whether a file holds a program of TorchScript."""
    names = zip_names(path)
    return any("/code/" in name for name in names) and any(name.endswith("/constants.pkl") for name in names)


def is_stable_baselines(path: Path) -> bool:
    """Whether Stable-Baselines3 saved it."""
    return {"data", "policy.pth"} <= set(zip_names(path))


def opened(policy: Any) -> Any:
    """A policy of foveal's from a run's folder, from what ``save`` wrote or by ``pretrained:NAME``; all else as it is.

    Raises:
        FovealError: there is no such policy, or its folder is damaged.
    """
    if not isinstance(policy, (str, Path)):
        return policy
    folder = Path(policy)
    ours = folder.is_dir() and (kind_of(folder) is not None or (folder / CONFIG).is_file())
    return load(policy) if ours or str(policy).startswith(PRETRAINED) else policy
