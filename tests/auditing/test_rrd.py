"""Audits as recordings of Rerun's: what is in them, by a stand-in everywhere and by the library where it is."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import foveal
from foveal.auditing.report_films import heated
from foveal.auditing.rrd import write_rrd
from foveal.cli import main
from foveal.errors import FovealError
from small_policies import LENGTH, Halves, Sides, looking

PARTS = (
    "Blueprint",
    "Grid",
    "Horizontal",
    "Spatial2DView",
    "Tabs",
    "TextDocumentView",
    "TimePanel",
    "TimeSeriesView",
    "Vertical",
)
PLACES = ("as-it-is", "frozen-5", "hue-5")
FAST = {"changes": ["hue", "frozen"], "severities": [1, 5], "progress": False, "maps": ()}


class Stand(ModuleType):
    """In the place of the library: keeps what it is given, by entity."""

    def __init__(self) -> None:
        super().__init__("rerun")
        self.streams: list[Any] = []
        self.EncodedImage = self.Scalars = SimpleNamespace(columns=lambda **columns: columns)
        self.TimeColumn = lambda name, *, sequence: (name, list(sequence))
        self.TextDocument = lambda text, **_: text

    def RecordingStream(self, name: str, *, recording_id: str) -> Any:
        stream = SimpleNamespace(id=recording_id, sent={}, static={}, closed=False)
        stream.save = lambda path, default_blueprint: setattr(stream, "layout", default_blueprint)
        stream.send_recording_name = lambda name: setattr(stream, "name", name)
        stream.log = lambda place, what, *, static: stream.static.update({place: what})
        stream.send_columns = lambda place, times, columns: stream.sent.update({place: (*times[0], columns)})
        stream.disconnect = lambda: setattr(stream, "closed", True)
        self.streams.append(stream)
        return stream


def part(kind: str) -> Any:
    return lambda *inside, **settings: (kind, inside, settings)


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    made, blueprint = Stand(), ModuleType("rerun.blueprint")
    for kind in PARTS:
        setattr(blueprint, kind, part(kind))
    monkeypatch.setitem(sys.modules, "rerun", made)
    monkeypatch.setitem(sys.modules, "rerun.blueprint", blueprint)
    return made


@pytest.fixture(scope="module")
def found() -> foveal.Audit:
    """With films of two policies, made without the library."""
    options = {**FAST, "maps": ["gradient"], "pixels": "unit"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("foveal.auditing.running.check_rrd", lambda path: None)
        patch.setattr("foveal.auditing.running.write_rrd", lambda audit, path: None)
        return foveal.audit(Halves(), Sides(), None, against=Halves(), rrd="unwritten.rrd", **options)


def parts(layout: Any) -> Iterator[Any]:
    kind, inside, settings = layout
    yield kind, settings
    for one in inside:
        yield from parts(one)


@pytest.mark.slow
def test_everything_is_sent_at_its_step(found: foveal.Audit, stand: Stand, tmp_path: Path) -> None:
    path = write_rrd(found, tmp_path / "new" / "audit.rrd")
    (stream,) = stand.streams
    assert stream.closed and [one.name for one in path.parent.iterdir()] == ["audit.rrd"]
    names = ("frame", "gradient", "return", "reward", "action/0")
    owned = {"policy": found.films, "against": found.against.films if found.against else ()}
    assert set(stream.sent) == {f"{owner}/{place}/{name}" for owner in owned for place in PLACES for name in names}
    for owner, films in owned.items():
        for place, film in zip(PLACES, films, strict=True):
            sent = {name: stream.sent[f"{owner}/{place}/{name}"] for name in names}
            assert {timeline for timeline, *_ in sent.values()} == {"step"}
            drawn = [Image.open(io.BytesIO(one)) for one in sent["gradient"][2]["blob"]]
            shown = [Image.open(io.BytesIO(one)) for one in sent["frame"][2]["blob"]]
            assert sent["frame"][1] == sent["gradient"][1] == list(film.steps) == list(range(LENGTH))
            assert (np.stack(shown) == film.frames).all()  # type: ignore[call-overload]
            assert (np.asarray(drawn[3]) == heated(film, "gradient", 3)).all()
            returns, rewards, actions = (sent[name][2]["scalars"] for name in names[2:])
            assert len(returns) == LENGTH + 1 and returns[0] == 0 and returns[-1] == film.episode.total
            assert returns[:-1] == list(film.totals) and np.diff(returns).tolist() == rewards
            assert sent["reward"][1] == sent["action/0"][1] == list(range(LENGTH)) and set(actions) <= {0.0, 1.0}
    assert found.summary[0] in stream.static["audit"] and "hue:5" in stream.static["audit"]
    views = [settings for kind, settings in parts(stream.layout) if kind == "Spatial2DView"]
    assert [view["origin"] for view in views] == [key for key in stream.sent if key.endswith(("frame", "gradient"))]
    assert [view["name"] for view in views[:4]] == ["as it is", "gradient", "frozen, severity 5", "gradient"]
    assert {settings["name"] for kind, settings in parts(stream.layout) if kind == "TimeSeriesView"} == {
        *names[2:4],
        "action",
    }


@pytest.mark.slow
def test_the_option_films_without_a_page_and_every_recording_is_one_of_its_own(stand: Stand, tmp_path: Path) -> None:
    for name in ("one.rrd", "two.rrd"):
        audit = foveal.audit(looking, Sides(continuous=True), None, rrd=tmp_path / name, episodes=1, **FAST)
        assert (tmp_path / name).is_file() and audit.page is None and len(audit.films) == 3
    one, two = stand.streams
    assert one.id != two.id and not any(place.startswith("against") for place in one.sent)
    acted = one.sent["policy/as-it-is/action/0"][2]["scalars"]
    assert len(acted) == LENGTH and acted == audit.films[0].actions[:, 0].tolist()


@pytest.mark.slow
def test_the_library_reads_what_was_written(found: foveal.Audit, tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason='needs the extra "rerun"')
    from rerun.chunk import RrdReader

    reader = RrdReader(write_rrd(found, tmp_path / "audit.rrd"))
    assert len(reader.recordings()) == len(reader.blueprints()) == 1
    tables = {chunk.entity_path: chunk.to_record_batch().to_pydict() for chunk in reader.stream()}
    for owner, films in (("policy", found.films), ("against", found.against.films if found.against else ())):
        for place, film in zip(PLACES, films, strict=True):
            frames, returns = (tables[f"/{owner}/{place}/{name}"] for name in ("frame", "return"))
            assert frames["step"] == list(film.steps)
            assert set(frames) == {"rerun.controls.RowId", "step", "EncodedImage:blob", "EncodedImage:media_type"}
            shown = np.asarray(Image.open(io.BytesIO(bytes(frames["EncodedImage:blob"][4][0]))))
            assert (shown == film.frames[4]).all()
            assert returns["Scalars:scalars"][-1] == [film.episode.total] and returns["step"] == list(range(LENGTH + 1))
            assert len(tables[f"/{owner}/{place}/gradient"]["step"]) == LENGTH
    assert found.summary[0] in tables["/audit"]["TextDocument:text"][0][0]


@pytest.mark.slow
def test_without_the_extra_one_line_says_so_before_work_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    assert main(["audit", "none.onnx", "--env", "none", "--rrd", str(tmp_path / "audit.rrd")]) == 2
    said = capsys.readouterr().err
    assert 'rrd files need the extra "rerun": pip install "foveal[rerun]"' in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("rrd", "said"),
    [("audit.mp4", "a recording of Rerun's is an rrd file: call it audit.rrd, not audit.mp4"), (".", "is a folder")],
)
def test_other_files_are_refused_before_work_starts(rrd: str, said: str, stand: Stand) -> None:
    with pytest.raises(FovealError, match=said):
        foveal.audit(looking, Sides(), None, rrd=rrd)
    assert not stand.streams


def test_recorded_frames_have_no_recording(stand: Stand, tmp_path: Path) -> None:
    with pytest.raises(FovealError, match="leave one of rrd and frames out"):
        foveal.audit(looking, None, None, frames=tmp_path, rrd=tmp_path / "audit.rrd")


@pytest.mark.slow
def test_what_can_not_be_written(found: foveal.Audit, stand: Stand, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FovealError, match="can't write the recording"):
        write_rrd(found, tmp_path / "file" / "audit.rrd")
    with pytest.raises(FovealError, match="this audit has no films"):
        write_rrd(replace(found, films=()), tmp_path / "audit.rrd")
    assert not stand.streams
