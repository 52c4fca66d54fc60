"""Checkpoints: what goes in comes out, damage is noticed, nothing is executed, and any moment is fit to be killed."""

from __future__ import annotations

import errno
import json
import logging
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from foveal import checkpoint
from foveal.checkpoint import CheckpointStore, DamagedCheckpoint, files, load, save
from foveal.checkpoint.manifest import Manifest, read_manifest
from foveal.errors import FovealError
from foveal.replay import ReplayBuffer


@dataclass
class Part:
    """A replay segment that counts how often it is read."""

    name: str
    sealed: bool = True
    value: int = 0
    reads: list[str] = field(default_factory=list)

    def read(self) -> dict[str, np.ndarray]:
        self.reads.append(self.name)
        rows = np.zeros(3, [("reward", np.float32), ("vector", np.float32, (0,)), ("action", np.float32, (2,))])
        rows["reward"] = self.value
        return {"frames": np.full((3, 4), self.value, np.uint8), "rows": rows}


def tensors(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((2, 3), value), "step": torch.tensor(7)}


def write_example(folder: Path, value: float = 1.0) -> Path:
    return save(
        folder, tensors(value), {"value": value}, segments=[Part("s0-000000-ab"), Part("s0-tail", sealed=False)]
    )


def forge(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Alter the manifest as an attacker would: with a checksum that fits."""
    body = json.loads((folder / "manifest.json").read_text())
    body.pop("sha256")
    change(body)
    manifest = Manifest(body["kind"], body["versions"])
    manifest.files.update({name: files.Entry(**entry) for name, entry in body["files"].items()})
    manifest.sealed.extend(body["sealed"])
    (folder / "manifest.json").write_bytes(manifest.to_json())


# ------------------------------------------------------------------------------------------------------- there and back


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    stored = {
        "transposed": shared.T,
        "shared": shared,
        "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "bytes": torch.tensor([0, 255], dtype=torch.uint8),
        "empty": torch.zeros(0, 3),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }
    state = {"steps": 12_000, "big": 2**127, "name": "Müller", "none": None, "list": [1.5, True]}
    parts = [Part("s0-000003-0a", value=5), Part("s1-tail", sealed=False, value=6)]
    folder = save(tmp_path / "deep" / "er" / "checkpoint", stored, state, segments=parts)
    found = load(folder)
    assert found.state == state
    assert found.tensors.keys() == stored.keys()
    for name, tensor in stored.items():
        assert torch.equal(found.tensors[name], tensor) and found.tensors[name].dtype == tensor.dtype
    assert sorted(found.segments) == ["s0-000003-0a", "s1-tail"]
    for part in parts:
        for name, array in part.read().items():
            assert found.segments[part.name][name].dtype == array.dtype
            np.testing.assert_array_equal(found.segments[part.name][name], array)
    assert found.manifest.versions["torch"] == torch.__version__.split("+")[0] or torch.__version__
    assert found.manifest.sealed == ["s0-000003-0a"]
    assert sorted(p.name for p in folder.parent.iterdir()) == ["checkpoint"]


def test_tensors_begin_where_pytorch_would_let_them_begin(tmp_path: Path) -> None:
    """Matrix products round by where their factors begin, and in a file that is anywhere."""
    state = {"values": [np.arange(n, dtype=np.float32) for n in (1, 2, 3, 5, 9)], "seen": torch.ones(3, 3)}
    tensors, described = checkpoint.split(state)
    held = load(save(tmp_path / "odd", tensors, described))
    assert [tensor.data_ptr() % 64 for tensor in held.tensors.values()] == [0] * 6
    joined = checkpoint.join(held.tensors, held.state)
    assert [values.ctypes.data % 64 for values in joined["values"]] == [0] * 5
    assert torch.equal(joined["seen"], state["seen"]) and joined["values"][4].tolist() == list(range(9))


def test_replay_memory_can_be_left_aside(tmp_path: Path) -> None:
    folder = write_example(tmp_path / "c")
    (folder / "replay" / "s0-tail.frames.npy").unlink()
    found = load(folder, segments=False)
    assert not found.segments and torch.equal(found.tensors["weight"], tensors()["weight"])
    with pytest.raises(DamagedCheckpoint, match=r"s0-tail\.frames\.npy is missing"):
        load(folder)


def test_a_checkpoint_is_replaced_by_a_complete_one(tmp_path: Path) -> None:
    write_example(tmp_path / "c", 1.0)
    (tmp_path / ".c.partial").mkdir()  # of a process that was killed
    (tmp_path / ".c.partial" / "state.json").write_text("half")
    write_example(tmp_path / "c", 2.0)
    assert load(tmp_path / "c").state == {"value": 2.0}
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_through_a_symbolic_link(tmp_path: Path) -> None:
    write_example(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    write_example(tmp_path / "link", 2.0)
    assert load(tmp_path / "link").state == load(tmp_path / "real").state == {"value": 2.0}
    assert (tmp_path / "link").is_symlink()


def test_nothing_else_is_ever_replaced(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "thesis.tex").write_text("years of work")
    with pytest.raises(FovealError, match=r"won't replace .*no manifest.json; save to another folder"):
        write_example(tmp_path / "project")
    assert (tmp_path / "project" / "thesis.tex").exists()
    folder = write_example(tmp_path / "c")
    with pytest.raises(FovealError, match=r"is a checkpoint of 'foveal\.checkpoint', but one of 'foveal\.agent'"):
        save(folder, {}, {}, kind="foveal.agent")
    (folder / "replay" / "notes.txt").write_text("mine")
    with pytest.raises(FovealError, match=r"also holds 'replay/notes.txt'"):
        write_example(folder)
    assert load(folder).state == {"value": 1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({}, {"x": {1, 2}}), "must be JSON: .*set"),
        (({}, {"x": np.float32(1)}), "must be JSON: .*float32"),
        (({"x": torch.zeros(2).to_sparse()}, {}), "tensors can't be stored"),
        (({"x": "weight"}, {}), None),
    ],
)
def test_what_can_not_be_stored_is_refused_before_anything_is_written(
    tmp_path: Path, arguments: Any, message: str | None
) -> None:
    with pytest.raises(FovealError if message else AttributeError, match=message):
        save(tmp_path / "c", *arguments)
    assert not list(tmp_path.iterdir())


def test_segments_that_can_not_be_stored_leave_nothing_behind(tmp_path: Path) -> None:
    class Objects(Part):
        def read(self) -> dict[str, np.ndarray]:
            return {"rows": np.array([{}], object)}

    for part, message in ((Objects("a"), "would need pickle"), (Part("../a"), "can't name a file")):
        with pytest.raises(FovealError, match=message):
            save(tmp_path / "c", {}, {}, segments=[Part("fine"), part])
        assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------------------------------------------- damage


@pytest.mark.slow
def test_every_altered_or_shortened_file_is_noticed(tmp_path: Path) -> None:
    folder = write_example(tmp_path / "c")
    rng = np.random.default_rng(0)
    names = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    assert len(names) == 3 + 4
    for name in names:
        path = folder / name
        good = path.read_bytes()
        bits = rng.choice(8 * len(good), size=40, replace=False).tolist()
        flipped = [bytes(b ^ (1 << bit % 8 if i == bit // 8 else 0) for i, b in enumerate(good)) for bit in bits]
        cut = [good[:length] for length in (0, 1, len(good) // 2, len(good) - 2)]
        for bad in [*flipped, *cut, good + b"\0"]:
            path.write_bytes(bad)
            with pytest.raises(FovealError, match=str(folder)) as caught:
                load(folder)
            assert name == "manifest.json" or (
                name in str(caught.value) and isinstance(caught.value, DamagedCheckpoint)
            )
        path.unlink()
        with pytest.raises(DamagedCheckpoint, match=f"{name} is missing|no manifest.json"):
            load(folder)
        path.write_bytes(good)
        load(folder)


@pytest.mark.slow
def test_every_bit_of_the_manifest_counts(tmp_path: Path) -> None:
    folder = save(tmp_path / "c", {}, {})
    good = (folder / "manifest.json").read_bytes()
    for bit in range(0, 8 * len(good), 11):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        (folder / "manifest.json").write_bytes(bad)
        with pytest.raises(FovealError):
            read_manifest(folder, checkpoint.folder.KIND)


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "model.zip").write_bytes(b"PK\x03\x04")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "manifest.json").write_text('{"name": "a web app", "icons": []}')
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "manifest.json").write_text("[1]")
    for name, message in {
        "nothing": "there is nothing of that name",
        "empty": "has no manifest.json",
        "model.zip": "it is a file, not a folder",
        "site": "written by something else",
        "list": "no JSON object",
    }.items():
        with pytest.raises(FovealError, match=message) as caught:
            load(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
    folder = save(tmp_path / "agent", {}, {}, kind="foveal.agent")
    with pytest.raises(
        FovealError, match=r"a checkpoint of 'foveal\.agent', but one of 'foveal\.checkpoint' is needed"
    ):
        load(folder)
    assert load(folder, kind="foveal.agent").state == {}


def test_a_newer_format_asks_for_an_upgrade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, {}, {})
    with monkeypatch.context() as newer:
        newer.setattr("foveal.checkpoint.manifest.FORMAT", 2)
        store.save(2, {}, {})
    with pytest.raises(FovealError, match=r"has format 2, .* reads up to 1: upgrade foveal"):
        load(store.path(2))
    with pytest.raises(FovealError, match="upgrade foveal"):  # falling back would throw work away
        store.latest()
    assert store.steps() == [1, 2]


@pytest.mark.parametrize(
    "name", ["../outside.a.npy", "/etc/hostname", "replay/../../x.a.npy", "replay/a.b.npy\n", "x.py"]
)
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    folder = write_example(tmp_path / "c")
    forge(folder, lambda body: body["files"].update({name: {"size": 0, "sha256": ""}}))
    with pytest.raises(FovealError, match="no checkpoint of ours holds"):
        load(folder)


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    folder = write_example(tmp_path / "c")
    (folder / "state.json").rename(tmp_path / "state.json")
    (folder / "state.json").symlink_to(tmp_path / "state.json")
    with pytest.raises(DamagedCheckpoint, match=r"state.json is not an ordinary file"):
        load(folder)


class Bomb:
    """Makes a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_no_file_is_ever_executed(tmp_path: Path) -> None:
    fired = tmp_path / "fired"
    folder = write_example(tmp_path / "c")
    np.save(tmp_path / "bomb.npy", np.array([Bomb(fired)], object), allow_pickle=True)
    torch.save({"weight": Bomb(fired)}, tmp_path / "bomb.pt")
    for target, bomb in (("replay/s0-tail.frames.npy", "bomb.npy"), ("tensors.safetensors", "bomb.pt")):
        content = (tmp_path / bomb).read_bytes()
        (folder / target).unlink()
        entry = files.write(folder / target, content)
        forge(folder, lambda body, target=target, entry=entry: body["files"].update({target: entry._asdict()}))
    with pytest.raises(DamagedCheckpoint, match="safetensors"):
        load(folder)
    (folder / "tensors.safetensors").unlink()
    entry = files.write(folder / "tensors.safetensors", checkpoint.folder._tensor_bytes({}))
    forge(folder, lambda body: body["files"].update({"tensors.safetensors": entry._asdict()}))
    with pytest.raises(DamagedCheckpoint, match=r"s0-tail\.frames\.npy"):
        load(folder).segments["s0-tail"]
    assert not fired.exists()
    np.load(tmp_path / "bomb.npy", allow_pickle=True)  # the bomb does work
    assert fired.exists()


# ---------------------------------------------------------------------------------------------------- disks that refuse


class Refusals:
    """Makes the n-th call of a function fail as a full disk does, here and in every module that calls it."""

    def __init__(self, function: Callable[..., Any], nth: int, code: int) -> None:
        self.function, self.left, self.code = function, nth, code

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.left -= 1
        if self.left == -1:
            raise OSError(self.code, os.strerror(self.code))
        return self.function(*args, **kwargs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "name", "code"),
    [
        (files._Hashed, "write", errno.ENOSPC),
        (os, "fsync", errno.EIO),
        (os, "rename", errno.EACCES),
        (Path, "mkdir", errno.EROFS),
    ],
)
def test_a_save_that_fails_anywhere_leaves_the_previous_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, code: int
) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, tensors(1), {"value": 1}, segments=[Part("a", value=1)])
    store.save(2, tensors(2), {"value": 2}, segments=[Part("a", value=1), Part("b", value=2)])
    for nth in range(100):
        refusal, refused = Refusals(getattr(where, name), nth, code), ""
        with monkeypatch.context() as patch:
            patch.setattr(where, name, lambda *args, refusal=refusal, **kwargs: refusal(*args, **kwargs))
            try:
                store.save(2, tensors(3), {"value": 3}, segments=[Part("a", value=1), Part("c", value=3)])
            except FovealError as error:
                refused = str(error)
        if refusal.left >= 0:  # no such call is left to fail
            assert not refused
            break
        assert f"can't save checkpoint {store.path(2)}: {os.strerror(code)}" in refused
        assert store.path(2).is_dir()
        found = store.latest()
        assert found is not None and sorted(p.name for p in store.folder.iterdir()) == ["000000001", "000000002"]
        assert found.state["value"] in ((2, 3) if name == "fsync" else (2,))  # renamed, but is the rename on the disk?
        store.save(2, tensors(2), {"value": 2}, segments=[Part("a", value=1), Part("b", value=2)])
    assert nth >= 2
    found = store.latest()
    assert found is not None and found.state == {"value": 3} and sorted(found.segments) == ["a", "c"]


def test_a_parent_that_is_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FovealError, match=r"can't save checkpoint .*File exists \(.*file\)"):
        save(tmp_path / "file" / "c", {}, {})


# -------------------------------------------------------------------------------------------------- a run's checkpoints


def test_sealed_segments_are_linked_and_open_ones_written(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    reads: list[str] = []
    store.save(1, {}, {}, segments=[Part("a", reads=reads), Part("tail", sealed=False, reads=reads)])
    store.save(2, {}, {}, segments=[Part("a", reads=reads), Part("b", reads=reads), Part("tail", False, 9, reads)])
    assert reads == ["a", "tail", "b", "tail"]
    inodes = [[(store.path(n) / f"replay/{x}.rows.npy").stat().st_ino for n in (1, 2)] for x in ("a", "tail")]
    assert inodes[0][0] == inodes[0][1] and inodes[1][0] != inodes[1][1]
    found = CheckpointStore(tmp_path).latest()
    assert found is not None and found.segments["tail"]["frames"].max() == 9


def test_without_hard_links_segments_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "no links on this file system")

    monkeypatch.setattr(os, "link", refuse)
    store, part = CheckpointStore(tmp_path), Part("a", value=4)
    for step in (1, 2):
        store.save(step, {}, {}, segments=[part])
    assert part.reads == ["a"]
    assert load(store.path(2)).segments["a"]["frames"].max() == 4


def test_segments_are_written_anew_where_the_older_file_is_gone(tmp_path: Path) -> None:
    store, part = CheckpointStore(tmp_path), Part("a", value=4)
    store.save(1, {}, {}, segments=[part])
    (store.path(1) / "replay/a.rows.npy").write_bytes(b"short")
    store.save(2, {}, {}, segments=[part])
    (store.path(2) / "manifest.json").unlink()
    store.save(3, {}, {}, segments=[part])
    assert part.reads == ["a"] * 3
    assert load(store.path(3)).segments["a"]["frames"].max() == 4


def test_old_checkpoints_are_deleted_and_the_best_one_stays(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=3)
    assert store.latest() is None
    with pytest.raises(FovealError, match="best is not a foveal checkpoint: there is nothing"):
        store.best()
    for step in range(1000, 7000, 1000):
        store.save(step, tensors(step), {"step": step}, segments=[Part("a")])
        if step in (1000, 3000):
            store.save_best(tensors(step), {"step": step})
    assert store.steps() == [4000, 5000, 6000]
    assert sorted(p.name for p in store.folder.iterdir()) == ["000004000", "000005000", "000006000"]
    assert store.best().state == {"step": 3000}
    with pytest.raises(FovealError, match="already holds step 6000, and this is step 10"):
        CheckpointStore(tmp_path).save(10, {}, {})
    with pytest.raises(FovealError, match="keep must be at least 2"):
        CheckpointStore(tmp_path, keep=1)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = CheckpointStore(tmp_path, keep=4)
    for step in (1, 2, 3, 4):
        store.save(step, tensors(step), {"step": step}, segments=[Part(f"a{step}")])
    (store.path(4) / "tensors.safetensors").write_bytes(b"x")
    (store.path(3) / "manifest.json").unlink()
    store = CheckpointStore(tmp_path)
    with caplog.at_level(logging.WARNING):
        found = store.latest()
    assert found is not None and found.state == {"step": 2}
    assert "tensors.safetensors has 1 bytes" in caplog.text and "trying the one before it" in caplog.text
    assert sorted(p.name for p in store.folder.iterdir()) == [
        f"00000000{x}" for x in ("1", "2", "3.damaged", "4.damaged")
    ]
    store.save(3, tensors(33), {"step": 33})  # the run goes on from step 2
    again = store.latest()
    assert again is not None and again.state == {"step": 33}


def test_only_damaged_checkpoints_are_an_error(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    for step in (1, 2):
        store.save(step, {}, {})
        (store.path(step) / "state.json").write_text("{}x")
    with pytest.raises(FovealError, match=r"no checkpoint in .* is undamaged"):
        store.latest()


@pytest.mark.slow
def test_replay_goes_on_from_a_checkpoint_as_if_nothing_had_happened(tmp_path: Path) -> None:
    def make() -> ReplayBuffer:
        return ReplayBuffer(200, (3, 2, 2), 3, (2,), vector_size=2, streams=2, n_step=3, segment_length=16)

    def drive(replay: ReplayBuffer, steps: range) -> None:
        for step in steps:
            for stream in range(2):
                image = np.full((9, 2, 2), step % 256, np.uint8)
                obs = {"image": image, "vector": np.array([stream, step], np.float32)}
                if step % 20 == 0:
                    replay.begin(stream, obs)
                else:
                    replay.add(stream, np.array([0.5, step / 1000], np.float32), step, False, step % 20 == 19, obs)

    store, original = CheckpointStore(tmp_path), make()
    for part in range(6):
        drive(original, range(part * 37, part * 37 + 37))
        original.sample(8)
        store.save(part, {}, {"replay": original.state()}, segments=original.segments())
    reopened, copy = CheckpointStore(tmp_path), make()
    found = reopened.latest()
    assert found is not None
    copy.load_state(found.state["replay"], found.segments)
    for replay in (original, copy):
        drive(replay, range(222, 300))
    one, other = original.sample(64), copy.sample(64)
    assert torch.equal(one.obs.image, other.obs.image) and torch.equal(one.next_obs.image, other.next_obs.image)
    assert torch.equal(one.reward, other.reward) and torch.equal(one.action, other.action)
    reopened.save(6, {}, {"replay": copy.state()}, segments=copy.segments())
    load(reopened.path(6))


def test_a_process_killed_between_two_renames_loses_nothing(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    folder = store.save(1, {}, {"value": 1})
    folder.rename(files.previous_name(folder))
    assert load(folder).state == {"value": 1}
    found = store.latest()
    assert found is not None and found.state == {"value": 1}
    assert [p.name for p in store.folder.iterdir()] == ["000000001"]


KILLED = r"""
import os, random, signal, sys, time
import numpy as np, torch
from foveal.checkpoint import CheckpointStore
from foveal.replay import ReplayBuffer

run = sys.argv[1]
rng = random.Random(0)

def make_replay():
    return ReplayBuffer(100, (3, 8, 8), 2, (), np.int64, segment_length=16)

def drive(report, die_at):
    events = 0
    def count(event, arguments):  # every file that is opened, renamed, linked or deleted
        nonlocal events
        if event in ("open", "os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir"):
            events += 1
            if events == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
    store, replay = CheckpointStore(run), make_replay()
    found = store.latest()
    step = 0 if found is None else found.state["step"]
    if found is not None:
        replay.load_state(found.state["replay"], found.segments)
    sys.addaudithook(count)
    while True:
        step += 1
        replay.begin(0, np.full((6, 8, 8), step % 256, np.uint8))
        for _ in range(9):
            replay.add(0, 1, float(step), False, False, np.full((6, 8, 8), step % 256, np.uint8))
        weights = {"w": torch.full((50,), float(step))}
        for _ in range(2):  # the second one replaces the first
            store.save(step, weights, {"step": step, "replay": replay.state()}, segments=replay.segments())
        store.save_best(weights, {"step": step})
        os.write(report, step.to_bytes(4, "little"))

def check(last):
    store, replay = CheckpointStore(run), make_replay()
    found = store.latest()
    if found is None:
        assert last == 0
        return 0
    step = found.state["step"]
    assert step >= last, (step, last)
    assert not [name for name in os.listdir(run + "/checkpoints") if name.endswith(".damaged")]
    assert found.tensors["w"].tolist() == [step] * 50
    replay.load_state(found.state["replay"], found.segments)
    assert set(replay.sample(50).reward.tolist()) <= set(range(step - 11, step + 1))
    if last:
        assert store.best().state["step"] >= last
    return step

most = 0
for round in range(80):
    at_event = round < 60
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        drive(writing, 1 + 3 * round if at_event else 0)
    os.close(writing)
    if not at_event:
        time.sleep(rng.uniform(0.005, 0.1))
        os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    reports = b""
    while part := os.read(reading, 65536):
        reports += part
    os.close(reading)
    most = max(most, check(int.from_bytes(reports[-4:], "little")))
print(most)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on_from_a_good_checkpoint(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", KILLED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10, done.stdout


# --------------------------------------------------------------------------------- optimizers, generators, nested state


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(16, 2))


def step(net: torch.nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    images = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    net(images).square().sum().backward()
    optimizer.step()


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2, betas=(0.5, 0.9)),
    "adamw amsgrad": lambda p: torch.optim.AdamW(p, lr=1e-2, amsgrad=True),
    "tensor rate": lambda p: torch.optim.Adam(p, lr=torch.tensor(1e-2)),
    "momentum": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-2, centered=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("warm", [0, 3])
def test_the_next_update_after_loading_is_the_same(tmp_path: Path, name: str, warm: int) -> None:
    make, first, second = OPTIMIZERS[name], network(), network()
    groups = [{"params": list(first[0].parameters()), "lr": 1e-3}, {"params": list(first[3].parameters())}]
    optimizer = make(groups)
    for seed in range(warm):
        step(first, optimizer, seed)
    stored, state = checkpoint.optimizer_state(optimizer)
    weights = {f"net/{k}": v for k, v in first.state_dict().items()}
    save(tmp_path / "c", weights | stored, {"optimizer": state})

    found = load(tmp_path / "c")
    second.load_state_dict({k.removeprefix("net/"): v for k, v in found.tensors.items() if k.startswith("net/")})
    restored = make([{"params": list(second[0].parameters())}, {"params": list(second[3].parameters())}])
    checkpoint.load_optimizer_state(restored, found.tensors, found.state["optimizer"])
    for seed in (100, 101):
        step(first, optimizer, seed)
        step(second, restored, seed)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert [g["lr"] for g in restored.param_groups] == [g["lr"] for g in optimizer.param_groups]
    assert [g.get("betas") for g in restored.param_groups] == [g.get("betas") for g in optimizer.param_groups]


def test_an_optimizer_of_another_agent_is_refused() -> None:
    net = network()
    optimizer = torch.optim.Adam(net.parameters())
    step(net, optimizer, 0)
    stored, state = checkpoint.optimizer_state(optimizer)
    with pytest.raises(FovealError, match=r"parameter groups of \[4\], this one of \[2\]; build the same agent"):
        checkpoint.load_optimizer_state(torch.optim.Adam(net[0].parameters()), stored, state)
    wider = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.Flatten(), torch.nn.Linear(20, 2))
    with pytest.raises(FovealError, match=r"exp_avg of parameter 0 is \(4, 3, 3, 3\), the parameter \(5, 3, 3, 3\)"):
        checkpoint.load_optimizer_state(torch.optim.Adam(wider.parameters()), stored, state)
    with pytest.raises(FovealError, match="lacks the tensor"):
        checkpoint.load_optimizer_state(optimizer, {}, state)


def through_json(state: Any) -> Any:
    return json.loads(json.dumps(state))


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_numpy_generators_go_on(kind: Any) -> None:
    one, other = np.random.Generator(kind(3)), np.random.Generator(kind(4))
    one.random(5)
    one.integers(10, size=3, dtype=np.int32)  # leaves half a number behind
    checkpoint.load_numpy_state(other, through_json(checkpoint.numpy_state(one)))
    assert (
        one.integers(10**6, size=9, dtype=np.int32).tolist() == other.integers(10**6, size=9, dtype=np.int32).tolist()
    )
    with pytest.raises(FovealError, match="does not fit a PCG64DXSM generator"):
        checkpoint.load_numpy_state(np.random.Generator(np.random.PCG64DXSM(1)), checkpoint.numpy_state(one))


def test_torch_generators_go_on() -> None:
    one, other = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    torch.randn(3, generator=one)
    checkpoint.load_generator_state(other, one.get_state())
    assert torch.equal(torch.randn(9, generator=one), torch.randn(9, generator=other))
    with pytest.raises(FovealError, match="does not fit a cpu generator"):
        checkpoint.load_generator_state(other, torch.zeros(16, dtype=torch.uint8))


def test_global_generators_go_on() -> None:
    def draw() -> list[Any]:
        return [torch.rand(3).tolist(), random.gauss(0, 1), random.random(), np.random.randn(3).tolist()]  # noqa: NPY002

    np.random.randn()  # noqa: NPY002 - leaves a second number behind
    random.gauss(0, 1)  # the same
    stored, state = checkpoint.global_random_state()
    expected = draw()
    draw()
    checkpoint.load_global_random_state(stored, through_json(state))
    assert draw() == expected


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | hnp.arrays(
        st.sampled_from([np.float64, np.float32, np.int32, np.bool_, np.uint8]),
        hnp.array_shapes(min_dims=0, min_side=0),
    )
)
TREES = st.recursive(
    LEAVES,
    lambda t: (
        st.lists(t, max_size=3) | st.dictionaries(st.text().filter(lambda k: not k.startswith("$")), t, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.slow
@given(TREES)
def test_nested_state_comes_back(tree: Any) -> None:
    stored, state = checkpoint.split(tree, "root")
    back = checkpoint.join(stored, through_json(state))

    def check(a: Any, b: Any) -> None:
        assert type(a) is type(b)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        elif isinstance(a, dict):
            assert a.keys() == b.keys()
            for key in a:
                check(a[key], b[key])
        elif isinstance(a, list):
            assert len(a) == len(b)
            for x, y in zip(a, b, strict=True):
                check(x, y)
        else:
            assert a == b

    check(tree, back)


def test_nested_state_that_can_not_be_stored_is_refused() -> None:
    for tree, message in (
        ({"a": {1: 2}}, "can't store the key 1 of a"),
        ({"$tensor": "x"}, r"can't store the key '\$tensor' of the state"),
        ({"a": np.array(["text"])}, "can't store a, an array of <U4"),
    ):
        with pytest.raises(FovealError, match=message):
            checkpoint.split(tree)
    assert checkpoint.split({"n": np.float32(0.5), "t": (1, 2)}) == ({}, {"n": 0.5, "t": [1, 2]})
