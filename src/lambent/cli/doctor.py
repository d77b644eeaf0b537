"""`lambent doctor`"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import attrs
import click

from lambent.cli.client import Server
from lambent.cli.progress import progress
from lambent.cli.runtimes import has_sdk
from lambent.cli.settings import config_options, read_config
from lambent.config import Config, ConfigError
from lambent.model.cage import IsolationLevel, RuntimeInstallation
from lambent.model.limits import MIB
from lambent.runtimes import python
from lambent.runtimes.find import Installations
from lambent.runtimes.search import version_key
from lambent.sandbox.machine import MachineReport, detect

DISK_LOW_MIB = 1_024  # one large function, unpacked, and a few disks for /tmp
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    good: bool
    detail: str
    remedy: str = ""  # what to do when it is not good
    vital: bool = False  # without it no server can run here


@click.command(short_help="Say what this machine offers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@config_options
def command(config_file: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Say what this machine offers, which isolation level that makes, what is missing and how to get it.

    Exit status 1: a server with these settings cannot run here.
    """
    config = read_config(config_file, {"data_dir": data_dir})
    with progress("Trying what the kernel allows"):
        report = detect()
    with progress("Asking each interpreter for its version"):
        found = examine(config, report)
    runs = all(finding.good for finding in found if finding.vital)
    if as_json:
        findings = [attrs.asdict(finding) for finding in found]
        click.echo(json.dumps({"can_run": runs, "level": level_of(config, report).value, "findings": findings}))
    else:
        _print(level_of(config, report), found)
        click.echo("Lambent can run here." if runs else "Lambent cannot run here yet: see the lines marked ✗.")
    sys.exit(0 if runs else 1)


def level_of(config: Config, report: MachineReport) -> IsolationLevel:
    """The level that `lambent up` would take."""
    return report.level if config.isolation == "auto" else IsolationLevel(config.isolation)


def examine(config: Config, report: MachineReport) -> list[Finding]:
    """Everything worth saying, the vital things first."""
    health = _server(config).health()
    running = health if health.get("edition") == "lambent" else {}
    return [
        _level(config, report),
        _service_user(config),
        _data_dir(config.data_dir),
        _port(config, running),
        _neighbours(config, running),
        *_runtimes(config.data_dir, running),
        *_machine(report),
    ]


def _level(config: Config, report: MachineReport) -> Finding:
    level = level_of(config, report)
    missing = report.missing(level)
    words = {
        IsolationLevel.ROOT: "every function in a cage of its own",
        IsolationLevel.ROOTLESS: "every function in a cage of user namespaces",
        IsolationLevel.PROCESS: "functions are plain processes, not isolated from this machine",
    }
    if missing:
        remedy = "; ".join(f"{capability.name}: {capability.remedy}" for capability in missing)
        return Finding(
            name="isolation", good=False, vital=True, detail=f"level {level} cannot work here", remedy=remedy
        )
    try:
        config.refuse_level(level.value)
    except ConfigError as error:
        return Finding(name="isolation", good=False, vital=True, detail=f"level {level}", remedy=str(error))
    return Finding(name="isolation", good=True, vital=True, detail=f"level {level}: {words[level]}")


def _service_user(config: Config) -> Finding:
    if os.geteuid() != 0:
        return Finding(name="service user", good=True, detail="this one; only a server started by root becomes another")
    try:
        uid, _ = config.service_ids()
    except ConfigError as error:
        return Finding(name="service user", good=False, vital=True, detail=config.service_user, remedy=str(error))
    good = uid != 0
    remedy = "" if good else "the process that reads the network must not stay root: choose another service_user"
    return Finding(name="service user", good=good, vital=True, detail=f"user {uid} reads the network", remedy=remedy)


def _data_dir(directory: Path) -> Finding:
    there = next(parent for parent in (directory, *directory.parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Finding(name="data", good=False, vital=True, detail=f"{directory} cannot be written",
                       remedy="choose another directory by --data")  # fmt: skip
    free_mib = shutil.disk_usage(there).free // MIB
    good = free_mib >= DISK_LOW_MIB
    remedy = "" if good else "make room, or choose another directory by --data"
    return Finding(name="data", good=good, detail=f"{directory}, {free_mib:,} MiB free", remedy=remedy)


def _port(config: Config, running: dict[str, Any]) -> Finding:
    where = f"{config.host}:{config.port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        if running:
            return Finding(name="port", good=True, detail=f"{where}: {_told(running)}")
        return Finding(name="port", good=False, vital=True, detail=f"{where}: {error.strerror or error}",
                       remedy="stop what listens there, or choose another by --port or --host")  # fmt: skip
    return Finding(name="port", good=True, vital=True, detail=f"{where} is free")


def _server(config: Config) -> Server:
    host = ANY_ADDRESS.get(config.host, config.host)
    return Server(f"http://{f'[{host}]' if ':' in host else host}:{config.port}", config.region)


def _told(health: dict[str, Any]) -> str:
    """What a running server says of itself."""
    up_s = int(health.get("uptime_s", 0))
    up = f"{up_s // 86_400} days" if up_s >= 2 * 86_400 else f"{up_s // 60} min" if up_s >= 60 else f"{up_s} s"
    return f"Lambent {health.get('version')} is running there for {up}, at isolation level {health.get('isolation')}"


def _neighbours(config: Config, running: dict[str, Any]) -> Finding:
    """What answers for the services that Lambent does not build."""
    elsewhere = "".join(f"; {service} at {url}" for service, url in config.endpoints)
    try:
        version = importlib.metadata.version("moto")
    except importlib.metadata.PackageNotFoundError:
        return Finding(name="neighbours", good=False, detail=f"moto is not installed{elsewhere}",
                       remedy="install lambent with its dependencies")  # fmt: skip
    state = running.get("neighbours", {}).get("process")
    told = f", {state}" if state else ""
    return Finding(
        name="neighbours", good=True, detail=f"S3, IAM, DynamoDB and others by moto {version}{told}{elsewhere}"
    )


def _runtimes(data_dir: Path, running: dict[str, Any]) -> list[Finding]:
    """One line for each language; without any interpreter only `provided` functions could run."""
    by_family: dict[str, list[str]] = {}
    bare: set[str] = set()
    installations = Installations.find(data_dir)
    for installation in sorted(installations.by_runtime.values(), key=lambda i: version_key(i.version)):
        sdk = ""
        if has_sdk(installations, installation) is False and _fetches(installation):
            bare.add(installation.family)
            sdk = ", without AWS's SDK"
        by_family.setdefault(installation.family, []).append(f"{installation.runtime} ({installation.version}{sdk})")
    remedies = {
        "python": "install CPython (Debian: apt-get install python3), or `lambent runtimes add PATH`",
        "nodejs": "install Node.js 18 or newer, or `lambent runtimes add PATH`",
        "java": "install a JDK, 17 or 25 for instance, or `lambent runtimes add PATH`",
        "ruby": "install Ruby 3.2 or newer, or `lambent runtimes add PATH`",
    }
    found = [
        Finding(name=family, good=family in by_family,
                remedy=f"`lambent runtimes build {family}` fetches AWS's SDK" if family in bare else
                       "" if family in by_family else remedy,
                detail=", ".join(by_family.get(family, [])) or "no interpreter of a version that AWS has")
        for family, remedy in remedies.items()
    ]  # fmt: skip
    unknown = sorted(set(installations.by_runtime) - set(running.get("runtimes", installations.by_runtime)))
    if unknown:
        found.append(Finding(name="restart", good=False, detail=f"the running server does not know {', '.join(unknown)}",
                             remedy="restart it: it looks for interpreters when it starts"))  # fmt: skip
    return found


def _fetches(installation: RuntimeInstallation) -> bool:
    """Whether its SDK comes from a package index, and not from Lambent's own installation at the first use."""
    return installation.family == "nodejs" or not python.sdk_fits(installation)


def _machine(report: MachineReport) -> list[Finding]:
    return [
        Finding(name=c.name, good=c.present, detail=c.detail, remedy="" if c.present else c.remedy)
        for c in report.capabilities
    ]


def _print(level: IsolationLevel, found: list[Finding]) -> None:
    width = max(len(finding.name) for finding in found)
    for finding in found:
        mark = "✓" if finding.good else "✗" if finding.vital else "-"
        click.echo(f"{mark} {finding.name:<{width}}  {finding.detail}")
        if finding.remedy:
            click.echo(f"  {'':<{width}}  → {finding.remedy}")
    click.echo(f"\nIsolation level: {level}")
