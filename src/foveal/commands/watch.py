"""``foveal watch``: a run's curves and its newest checkpoint in a browser, while it trains."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from socket import AF_INET, AF_INET6
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

import tyro

from foveal.commands.plugins import import_plugins
from foveal.errors import FovealError
from foveal.explanation.watching import REFRESH, Looking, check_run, watch_page

LOOPBACK = ("127.0.0.1", "::1", "localhost")
COOKIE = "foveal-watch"


@dataclass(frozen=True)
class WatchOptions:
    """Serve a page about a run that trains, or has trained: its curves, and what its newest checkpoint looks at.

    Attributes:
        run: the run's folder.
        port: to listen on; 0 for any that is free.
        host: to listen on. By default this machine alone can look; elsewhere the address has a token in it, which a
            browser must bring.
        plugins: module that registers your own environments and methods.
    """

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
    port: int = 8000
    host: str = "127.0.0.1"
    plugins: Annotated[str | None, tyro.conf.arg(name="import")] = None


class Server(ThreadingHTTPServer):
    """Serves two pages of one run, and no files.

    Args:
        run: the run's folder.
        host, port: to listen on.

    Raises:
        FovealError: it is no run's folder, or the port is taken.
    """

    daemon_threads = True

    def __init__(self, run: Path, host: str = LOOPBACK[0], port: int = 0) -> None:
        check_run(run)
        self.run, self.looking = run, Looking(run)
        self.token = None if host in LOOPBACK else secrets.token_urlsafe(16)
        self.address_family = AF_INET6 if ":" in host else AF_INET
        try:
            super().__init__((host, port), Handler)
        except (OSError, OverflowError) as error:
            raise FovealError(f"can't listen on {host}, port {port}: {error}; choose another --port") from error

    @property
    def address(self) -> str:
        """For a browser."""
        host, port = str(self.server_address[0]), self.server_address[1]
        name = f"[{host}]" if ":" in host else host
        return f"http://{name}:{port}/{'' if self.token is None else f'?token={self.token}'}"

    def look_now_and_then(self, over: threading.Event) -> None:
        """Look at newer checkpoints until it is over."""
        while not over.is_set():
            self.looking.refresh()
            over.wait(REFRESH)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    server_version, sys_version = "foveal", ""

    def do_GET(self) -> None:
        """The run's page at /, the newest checkpoint's at /policy."""
        path = urlsplit(self.path).path
        if not self._known():
            self._send(HTTPStatus.FORBIDDEN, "this page needs the address that foveal watch printed, token included")
        elif path == "/":
            self._send(HTTPStatus.OK, watch_page(self.server.run, self.server.looking.words), html=True)
        elif path == "/policy" and self.server.looking.page.is_file():
            self._send(HTTPStatus.OK, self.server.looking.page.read_text(encoding="utf-8"), html=True)
        else:
            self._send(HTTPStatus.NOT_FOUND, "there is nothing here; the run is at /")

    def log_message(self, *_: Any) -> None:
        """A terminal full of requests helps nobody."""

    def _known(self) -> bool:
        """Whether the browser brings the token or, where there is none, asked for this machine by its own name.

        Otherwise a page of somebody else's, whose name was made to mean this machine, could read the run.
        """
        if self.server.token is None:
            return _is_loopback(self.headers.get("Host", ""))
        brought = parse_qs(urlsplit(self.path).query).get("token", [""])[0] or self._cookie()
        return secrets.compare_digest(brought.encode(), self.server.token.encode())

    def _cookie(self) -> str:
        try:
            found = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
        except CookieError:
            return ""
        return "" if found is None else found.value

    def _send(self, status: HTTPStatus, text: str, *, html: bool = False) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"text/{'html' if html else 'plain'}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")  # the address may hold the token
        if status == HTTPStatus.OK and self.server.token is not None:
            self.send_header("Set-Cookie", f"{COOKIE}={self.server.token}; HttpOnly; SameSite=Strict; Path=/")
        self.end_headers()
        self.wfile.write(body)


def main(arguments: Sequence[str]) -> None:
    """Serve until Ctrl-C."""
    options = tyro.cli(WatchOptions, args=import_plugins(arguments), prog="foveal watch")
    with Server(options.run, options.host, options.port) as server:
        over = threading.Event()
        threading.Thread(target=server.look_now_and_then, args=(over,), daemon=True).start()
        print(f"{server.address}\nCtrl-C ends it; the training goes on", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
        finally:
            over.set()


def _is_loopback(host: str) -> bool:
    """Of a request's header, with or without a port."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
