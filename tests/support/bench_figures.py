"""Figures such as a run of the bench leaves, in part."""

from __future__ import annotations

from typing import Any

from lambent.bench.machine import about


def figures() -> dict[str, Any]:
    spread = {"min": 1.0, "median": 12.5, "p95": 2000.0}
    warm = {"per_s": 4000.0, "p50_ms": 0.2, "p99_ms": 3.0, "failed": 0}
    slow = {"per_s": 50.0, "p50_ms": 20.0, "p99_ms": 30.0, "failed": 0}
    return {
        "about": about(quick=True),
        "start": {"healthy_after_s": {"min": 0.3, "median": 0.4, "p95": 0.5}, "idle_mib": spread | {"median": 150.0}},
        "cold": {"python_hit_ms": spread, "python_hit_ratio": 0.2, "nodejs_hit_ms": "not measured: no interpreter found"},
        "warm": {"invokes_per_s": spread, "p99_ms": spread, "ratio": 0.3, "loads": [{"payload": "1 KB", "per_s": 5.0}]},
        "peers": {
            "servers": [
                {"server": "Lambent", "language": "Python", "version": "1", "cold_ms": spread, "warm": {"1": warm, "8": warm}},
                {
                    "server": "MiniStack", "language": "Python", "version": "2", "cold_ms": spread | {"median": 250.0},
                    "warm": {"1": slow, "8": "not measured: it crashed"},
                },
            ],
            "not_measured": {"lambda-local, Node.js": "lambda-local is not on PATH"},
            "python_cold_least": 20.0,
        },
        "soak": {
            "minutes": 1.0,
            "memory_growth": 1.01,
            "samples": [{"at_s": float(at), "memory_mib": 60.0 + at, "descriptors": 70} for at in range(30)],
        },
    }  # fmt: skip
