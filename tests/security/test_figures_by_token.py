"""The page for Prometheus, which cannot sign: open to who bears the configured token, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from live_server import LiveServer, running

TOKEN = "7d0c4e5b9f1a4c2e"
REFUSED = (400, 403)  # no signature at all, or none of ours


def status(server: LiveServer, path: str, authorization: str | None) -> int:
    headers = {} if authorization is None else {"Authorization": authorization}
    try:
        with urlopen(Request(server.url + path, headers=headers), timeout=30) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code


def test_the_token_opens_the_figures_and_nothing_else(tmp_path: Path) -> None:
    settings = tmp_path / "lambent.toml"
    settings.write_text(f'auth = "enforce"\nmetrics_token = "{TOKEN}"\n')
    with running(tmp_path / "data", "--config", str(settings)) as server:
        assert status(server, "/_lambent/metrics", f"Bearer {TOKEN}") == 200
        for wrong in (None, "Bearer ", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}0", TOKEN, f"Basic {TOKEN}"):
            assert status(server, "/_lambent/metrics", wrong) in REFUSED, wrong
        assert status(server, "/_lambent/events/any", f"Bearer {TOKEN}") in REFUSED
        assert status(server, "/2015-03-31/functions/", f"Bearer {TOKEN}") in REFUSED


def test_without_a_token_none_opens_them(tmp_path: Path) -> None:
    with running(tmp_path / "data", "--auth", "enforce") as server:
        for token in ("Bearer ", "Bearer", f"Bearer {TOKEN}"):
            assert status(server, "/_lambent/metrics", token) in REFUSED, token
