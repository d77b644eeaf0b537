"""Cold and warm of Lambent and of each peer that is there, one after the other, by the same client."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
from botocore.exceptions import BotoCoreError, ClientError

from lambent.bench import load
from lambent.bench.connection import Caller
from lambent.bench.errors import NotMeasured
from lambent.bench.figures import spread, timed_ms
from lambent.bench.peers import lambda_local, lambent, ministack, rie, serverless_offline
from lambent.bench.peers.peer import Peer
from lambent.bench.peers.tools import Tools, installed
from lambent.bench.server import Run
from lambent.bench.warm import event

OURS: Final = "Lambent"
ALL: Final = (*lambent.PEERS, *serverless_offline.PEERS, *ministack.PEERS, *rie.PEERS, *lambda_local.PEERS)
CONNECTIONS: Final = (1, 8)
PAUSE_S: Final = 0.1  # before each cold start
EVENT_BYTES: Final = 1_000


def measure(run: Run) -> dict[str, Any]:
    """What is not there is named, with the reason."""
    with run.fresh() as directory:
        if run.install_peers:
            run.say("peers: installing them")
        tools = attrs.evolve(installed(directory) if run.install_peers else Tools(), new_data=run.data)
        rows, missing = [], {}
        for peer in ALL:
            run.say(f"peers: {peer.title}")
            try:
                rows.append(_measured(run, tools, peer))
            except (NotMeasured, ClientError, BotoCoreError, OSError) as problem:
                missing[peer.title] = str(problem)
    return {"servers": rows, "not_measured": missing, **ratios(rows)}


def _measured(run: Run, tools: Tools, peer: Peer) -> dict[str, Any]:
    wanted, starts, version = run.pick(20 if peer.functions > 1 else 8, 2), list[float](), ""
    while len(starts) < wanted:
        with run.fresh() as directory, peer.start(tools, directory, min(wanted, peer.functions)) as serving:
            version = serving.version
            with Caller(serving.port) as caller:
                for path in serving.paths:
                    time.sleep(PAUSE_S)
                    starts.append(timed_ms(lambda path=path: caller.post(path, peer.wrap(b'{"a": 1}'))))  # type: ignore[misc]
            last = len(starts) >= wanted
            warm = _warm(serving.port, serving.paths[0], peer, run.pick(4, 1)) if last else {}
    return {"server": peer.name, "language": peer.language, "version": version, "cold_ms": spread(starts), "warm": warm}


def _warm(port: int, path: str, peer: Peer, seconds: int) -> dict[str, Any]:
    """By the number of connections, as text: JSON has no other keys."""
    found: dict[str, Any] = {}
    body = peer.wrap(event(EVENT_BYTES))
    for connections in CONNECTIONS:
        if connections > peer.connections:
            found[str(connections)] = "not measured: it does not survive more than one connection"
            continue
        try:
            load.own_once(port, path, body, connections)  # its environments start
            made = load.load(port, path, body, connections, seconds)
        except NotMeasured as problem:
            found[str(connections)] = f"not measured: {problem}"
            continue
        found[str(connections)] = {
            "per_s": round(made.per_s, 1), "p50_ms": made.p50_ms, "p99_ms": made.p99_ms, "failed": made.failed,
        }  # fmt: skip
    return found


def ratios(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """How often Lambent is faster than each, in the same language; and its Python than the quickest start of any, in whatever language."""
    ours = {row["language"]: row for row in rows if row["server"] == OURS}
    found: dict[str, float] = {}
    for row in rows:
        own = ours.get(row["language"])
        if row["server"] == OURS or own is None:
            continue
        key = f"{row['server']}_{row['language']}".lower().replace(" ", "_").replace("-", "_").replace(".", "")
        found[f"cold_{key}"] = round(row["cold_ms"]["median"] / own["cold_ms"]["median"], 2)
        most = next((c for c in ("8", "1") if all(isinstance(r["warm"].get(c), Mapping) for r in (row, own))), None)
        if most:
            found[f"warm_{key}"] = round(own["warm"][most]["per_s"] / row["warm"][most]["per_s"], 2)
    theirs = [row["cold_ms"]["median"] for row in rows if row["server"] != OURS]
    if theirs and "Python" in ours:
        found["python_cold_least"] = round(min(theirs) / ours["Python"]["cold_ms"]["median"], 2)
    return found
