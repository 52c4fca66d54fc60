"""``foveal watch``: what it serves, and to whom."""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from foveal.cli import main
from foveal.commands.watch import COOKIE, Server
from foveal.errors import FovealError
from foveal.evaluation.results import write_json
from foveal.explanation.watching import LOOK, Looking, watch_page
from small_env import small_agent

NOW = 1_000_000_000_000.0


def bare_run(folder: Path) -> Path:
    """A run that has begun and done nothing yet."""
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump({"env": "x/y", "method": "sgqn", "learner": "sac", "steps": 70}))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return bare_run(tmp_path / "walker")


@pytest.fixture
def server(run: Path) -> Iterator[Server]:
    yield from serving(Server(run))


def serving(server: Server) -> Iterator[Server]:
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def asked(server: Server, path: str, **headers: str) -> tuple[int, str, str]:
    """Status, body and cookie."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.getheader("Set-Cookie", "")
    finally:
        connection.close()


@pytest.mark.slow
def test_it_serves_the_run_and_nothing_else(server: Server, run: Path) -> None:
    status, page, cookie = asked(server, "/")
    assert status == 200 and "sgqn · sac on x/y" in page and "0 of 70" in page and not cookie
    assert 'http-equiv="refresh"' in page and "There is no checkpoint to look at yet" in page
    assert asked(server, "/policy")[0] == 404
    (run / LOOK).write_text("what it looks at")
    assert asked(server, "/policy")[:2] == (200, "what it looks at")
    for path in ("/config.yaml", "/../config.yaml", "/policy/../config.yaml", "/%2e%2e/etc/passwd", "//etc/passwd"):
        status, body, _ = asked(server, path)
        assert status == 404 and "env" not in body


@pytest.mark.slow
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""])
def test_a_name_that_was_made_to_mean_this_machine_is_refused(server: Server, host: str) -> None:
    assert asked(server, "/", Host=host)[0] == 403


@pytest.mark.slow
@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000"])
def test_this_machine_may_look(server: Server, host: str) -> None:
    assert asked(server, "/", Host=host)[0] == 200


@pytest.mark.slow
def test_elsewhere_the_token_is_needed_and_a_browser_keeps_it(run: Path) -> None:
    for server in serving(Server(run, "0.0.0.0")):
        assert server.token is not None and server.address.endswith(f"/?token={server.token}")
        assert asked(server, "/")[0] == asked(server, "/?token=guess")[0] == 403
        status, _, cookie = asked(server, f"/?token={server.token}")
        assert status == 200 and "HttpOnly" in cookie and "SameSite=Strict" in cookie
        assert asked(server, "/", Cookie=f"{COOKIE}={server.token}")[0] == 200
        assert asked(server, "/", Cookie=f"{COOKIE}=guess")[0] == 403


@pytest.mark.slow
def test_what_is_no_run_and_a_port_that_is_taken(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", str(tmp_path)]) == 2
    assert "is no run's folder, it has no config.yaml" in capsys.readouterr().err
    with pytest.raises(FovealError, match=r"can't listen on .*; choose another --port"):
        Server(server.run, port=server.server_address[1])


@pytest.mark.slow
def test_a_real_run_has_curves_losses_and_a_policy_that_is_looked_at_once(tmp_path: Path) -> None:
    run = tmp_path / "counting"
    small_agent("dmc/walker-stand", environment={"action_repeat": 40}).learn(
        60, run=run, progress=False, evaluate_every=30, evaluate_episodes=1, checkpoint_every=30, log_every=5
    )
    looking = Looking(run)
    looking.refresh()
    assert looking.step == 60 and looking.problem is None
    first = looking.page.stat().st_mtime_ns
    looking.refresh()
    assert looking.page.stat().st_mtime_ns == first  # there is nothing newer
    page = watch_page(run, looking.words, clock=lambda: NOW)
    assert "60 of 60" in page and "return at step 60, train" in page
    assert "The newest checkpoint</a>, at agent step 60." in page and "critic/" in page and "<svg" in page


@pytest.mark.parametrize("survives", [0, 1])
def test_a_file_may_be_deleted_between_its_listing_and_the_look_at_it(
    survives: int, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a training does with its old checkpoints; here after so many looks."""
    old, real, looks = run / "checkpoints" / "000000040" / "manifest.json", Path.stat, []
    write_json(old, {})
    for path, age in ((run / "config.yaml", 42), (old, 80)):
        os.utime(path, (1e9 - age, 1e9 - age))

    def stat(path: Path, **options: Any) -> os.stat_result:
        if path == old:
            looks.append(path)
            if len(looks) > survives:
                old.unlink(missing_ok=True)
        return real(path, **options)

    monkeypatch.setattr(Path, "stat", stat)
    assert "42 seconds" in watch_page(run, clock=lambda: 1e9)
    assert looks


def test_a_run_that_is_deleted_while_the_page_is_made_has_no_sign_of_life(run: Path) -> None:
    def clock() -> float:
        (run / "config.yaml").unlink()
        return NOW

    assert "no file is left" in watch_page(run, clock=clock)


def test_a_checkpoint_that_can_not_be_read_is_told(run: Path) -> None:
    write_json(run / "checkpoints" / "000000040" / "manifest.json", {})
    looking = Looking(run)
    looking.refresh()
    assert looking.step == 40 and looking.words is not None and looking.words.startswith("it can't be shown: ")
