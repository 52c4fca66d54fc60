"""The page of an audit: it says what was measured, carries everything, and works in a browser."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import foveal
from chromium import visit
from foveal.auditing.report import report
from foveal.errors import FovealError
from small_policies import SIDE, Sides, looking

HOSTILE = "</script><script>document.title='hacked'</script><img src=x onerror=alert(1)> & \"quotes\""


@pytest.fixture(scope="module")
def found() -> foveal.Audit:
    return foveal.audit(looking, Sides(), None, changes=["hue", "delayed"], severities=[1, 5], maps=(), progress=False)


@pytest.fixture
def page(found: foveal.Audit, tmp_path: Path) -> str:
    return report(found, tmp_path / "report.html").read_text(encoding="utf-8")


def words(page: str) -> str:
    """What people read."""
    text = re.sub(r"<(style|script)[^>]*>.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_the_answer_comes_first_and_every_number_follows(found: foveal.Audit, page: str) -> None:
    told = words(page)
    assert told.index(found.summary[0]) < told.index("Does it look?") < told.index("What breaks it")
    assert told.index("In numbers") < told.index("What is not known")
    for point in (*found.points, *found.blind):
        assert f"{point.mean:.3g}" in told
    assert "95 % interval over episodes" in told
    assert page.index('role="img" aria-label="return over the severity of delayed"') < page.index("severity of hue")


def test_what_is_not_known_is_said(page: str) -> None:
    told = words(page).partition("What is not known")[2]
    for said in (
        "over 5 episodes they are rough",
        "of 4 points some 1 may",
        "no map of it was made",
        "other backgrounds",
    ):
        assert said in told


def test_there_is_a_picture_of_every_change_where_it_broke(page: str) -> None:
    alts = re.findall(r'<img src="data:image/[^"]+" alt="([^"]+)"', page)
    assert "delayed, severity 1, as it came" in alts  # where it broke
    assert "hue, severity 5, as it came" in alts  # the highest, as it did not
    assert len([alt for alt in alts if alt.startswith("blind: ")]) == 4


def test_the_page_carries_everything_and_asks_no_network(page: str) -> None:
    references = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert references and all(reference.startswith(("data:", "#")) for reference in references)
    assert "default-src" in page and "url(" not in page and "@import" not in page
    assert not re.search(r"<[^>]+\sstyle=", page) and not re.search(r"<[^>]+\son\w+=", page)
    assert page.count("<h1>") == 1 and page.count("<svg") == len(
        re.findall(r'<svg[^>]*(?:role="(?:img|group)"|aria-hidden)', page)
    )


def test_what_users_wrote_is_shown_and_never_run(found: foveal.Audit, tmp_path: Path) -> None:
    hostile = replace(found, place=HOSTILE, policy={"kind": HOSTILE, "name": HOSTILE}, remarks=(HOSTILE,))
    page = report(hostile, tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count(html.escape(HOSTILE, quote=False).split(" onerror")[0][:20]) >= 3
    assert "<img src=x" not in page and page.count("<script>") == 1


def test_everything_is_written_as_json_too(found: foveal.Audit, tmp_path: Path) -> None:
    state = json.loads(found.save(tmp_path / "report.json").read_text())
    assert state["format"] == "foveal.audit/1" and state["verdict"] == "looks"
    assert [row["change"] for row in state["changes"]] == ["delayed", "delayed", "hue", "hue"]
    assert state["changes"][0]["values"] == [episode["return"] for episode in state["changes"][0]["episodes"]]
    assert state["summary"] == list(found.summary) and state["versions"]["foveal"]


def test_the_table_for_a_terminal_has_a_row_for_every_point(found: foveal.Audit) -> None:
    lines = str(found).splitlines()
    assert lines[0] == "function looking in Sides: 5 episodes for each row"
    assert [line for line in lines if line.startswith("delayed:1 ")]
    assert sum(line.startswith(("delayed:", "hue:", "blind: ", "as it is", "random")) for line in lines) == 10


def test_a_place_where_no_page_can_be_written_is_told(found: foveal.Audit, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FovealError, match="can't write"):
        report(found, tmp_path / "file" / "report.html")


@pytest.mark.slow
def test_the_page_works_in_a_narrow_browser(page: str, tmp_path: Path) -> None:
    """In a wide one with more on it, in ``test_comparing``."""
    probed, console = visit(page, tmp_path, width=500)
    assert console == []
    assert min(probed["images"]) >= SIDE
    assert probed["wide"] <= 0
