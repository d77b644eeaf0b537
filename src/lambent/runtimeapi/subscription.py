"""What an extension asks of telemetry, read from its request's body. Pure.

https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api-reference.html
"""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from lambent.runtimeapi.protocol import Refusal

SCHEMA_VERSIONS: Final = ("2022-07-01", "2022-12-13", "2025-01-29")
LOGS_SCHEMA_VERSIONS: Final = ("2020-08-15", "2021-03-18")  # of the Logs API, which the Telemetry API replaced
TYPES: Final = ("platform", "function", "extension")
HOSTS: Final = ("sandbox.localdomain", "sandbox")
ITEMS_MIN, ITEMS_MAX, ITEMS_DEFAULT = 1_000, 10_000, 1_000
BYTES_MIN, BYTES_MAX, BYTES_DEFAULT = 262_144, 1_048_576, 262_144
TIMEOUT_MIN_MS, TIMEOUT_MAX_MS, TIMEOUT_DEFAULT_MS = 25, 30_000, 1_000


@attrs.frozen(kw_only=True)
class Subscription:
    """Which events go where, and in batches of what size."""

    types: tuple[str, ...]
    max_items: int = ITEMS_DEFAULT
    max_bytes: int = BYTES_DEFAULT
    timeout_ms: int = TIMEOUT_DEFAULT_MS
    protocol: str  # "HTTP" or "TCP"
    port: int  # inside the environment
    path: str = "/"  # of HTTP


def parse_subscription(body: bytes, *, logs_api: bool) -> Subscription | Refusal:
    """The subscription, or a ValidationError that names everything that is wrong with it."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return _invalid(["request body is not valid JSON"])
    if not isinstance(asked, dict):
        return _invalid(["request body should be an object"])
    problems: list[str] = []
    _check_version(asked.get("schemaVersion"), LOGS_SCHEMA_VERSIONS if logs_api else SCHEMA_VERSIONS, problems)
    types = _types(asked.get("types"), problems)
    protocol, port, path = _destination(asked.get("destination"), problems)
    buffering = asked.get("buffering")
    if buffering is None:
        buffering = {}
    if not isinstance(buffering, dict):
        problems.append("buffering should be an object")
        buffering = {}
    max_items = _number(buffering, "maxItems", ITEMS_MIN, ITEMS_MAX, ITEMS_DEFAULT, problems)
    max_bytes = _number(buffering, "maxBytes", BYTES_MIN, BYTES_MAX, BYTES_DEFAULT, problems)
    timeout_ms = _number(buffering, "timeoutMs", TIMEOUT_MIN_MS, TIMEOUT_MAX_MS, TIMEOUT_DEFAULT_MS, problems)
    if problems:
        return _invalid(problems)
    return Subscription(
        types=types,
        max_items=max_items,
        max_bytes=max_bytes,
        timeout_ms=timeout_ms,
        protocol=protocol,
        port=port,
        path=path,
    )


def _invalid(problems: list[str]) -> Refusal:
    return Refusal(400, "ValidationError", "; ".join(problems))


def _check_version(version: Any, known: tuple[str, ...], problems: list[str]) -> None:
    # The Logs API's first clients sent none.
    if version is None and known is LOGS_SCHEMA_VERSIONS:
        return
    if version not in known:
        problems.append(f"schemaVersion should be one of {', '.join(known)}")


def _types(asked: Any, problems: list[str]) -> tuple[str, ...]:
    if not isinstance(asked, list) or not asked:
        problems.append("types should not be empty")
        return ()
    unknown = [str(each)[:64] for each in asked if each not in TYPES]
    if unknown:
        problems.append(f"types should be of {', '.join(TYPES)}: {', '.join(unknown[:3])}")
    return tuple(name for name in TYPES if name in asked)


def _destination(asked: Any, problems: list[str]) -> tuple[str, int, str]:
    if not isinstance(asked, dict):
        problems.append("destination is not provided")
        return "", 0, ""
    protocol = asked.get("protocol")
    if protocol == "TCP":
        return "TCP", _port(asked.get("port"), "port", problems), ""
    if protocol != "HTTP":
        problems.append("protocol should be HTTP or TCP")
        return "", 0, ""
    return _uri(asked.get("URI"), problems)


def _uri(uri: Any, problems: list[str]) -> tuple[str, int, str]:
    if not isinstance(uri, str) or not uri.isascii() or any(ord(character) <= 32 for character in uri):
        problems.append("URI is not provided")
        return "", 0, ""
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        problems.append("URI is not valid")
        return "", 0, ""
    if parts.scheme != "http" or host not in HOSTS:
        problems.append(f"URI host should be {HOSTS[0]}")
    if port is None:
        problems.append("URI port is not provided")
        return "", 0, ""
    path = parts.path or "/"
    return "HTTP", _port(port, "URI port", problems), f"{path}?{parts.query}" if parts.query else path


def _port(port: Any, what: str, problems: list[str]) -> int:
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65_536:
        problems.append(f"{what} is not provided" if port is None else f"{what} is not valid")
        return 0
    return port


def _number(asked: dict[str, Any], name: str, least: int, most: int, otherwise: int, problems: list[str]) -> int:
    value = asked.get(name)
    if value is None:
        return otherwise
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        problems.append(f"{name} should be between {least} and {most}")
        return otherwise
    return value
