"""What a server is told when it starts: read once, frozen, handed down.

Later sources win: the defaults below, a TOML file, environment variables `LAMBENT_*`, the command line's options.
Nothing else in the package reads the environment for settings. Every setting is documented where it is declared, and
docs/configuration.md is made from these declarations (`python -m lambent.config`).
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import pwd
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from lambent.model.errors import LambentError

FILE_NAME: Final = "lambent.toml"
PREFIX: Final = "LAMBENT_"
REGION_PATTERN: Final = re.compile(r"(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d{1,2}")
SERVICE_PATTERN: Final = re.compile(r"[a-z][a-z0-9-]*")
ENDPOINT_PATTERN: Final = re.compile(r"https?://[^/\s?#]+(?:/[^\s?#]*)?")
BROKER_PATTERN: Final = re.compile(r"arn:aws[a-z-]*:mq:[a-z0-9-]+:\d{12}:broker:[A-Za-z0-9_:-]+|[A-Za-z0-9_-]+")
BROKER_ADDRESS_PATTERN: Final = re.compile(r"amqps?://(?:\[[0-9A-Fa-f:.]+\]|[^/\s?#@:\[\]]+)(?::\d{1,5})?/?")
ORIGIN_PATTERN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s,]+")
OTHER_VARIABLES: Final = frozenset({"LAMBENT_CONFIG", "LAMBENT_ENDPOINT"})  # read by the command line itself

Parse = Callable[[Any], Any]


class ConfigError(LambentError):
    """A setting cannot be used: which one, where it was given, and what would be accepted."""


def _integer(least: int, most: int) -> Parse:
    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError(f"expected a whole number from {least} to {most}")
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"expected a whole number from {least} to {most}") from None
        if not least <= number <= most:
            raise ValueError(f"must be from {least} to {most}")
        return number

    return parse


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if not isinstance(value, str) or value.lower() not in words:
        raise ValueError("expected true or false")
    return words[value.lower()]


def _choice(*words: str) -> Parse:
    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError(f"expected one of {', '.join(words)}{_nearest(str(value), words)}")
        return str(value)

    return parse


def _text(value: Any) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise ValueError("expected text that is not empty")
    return str(value)


def _path(value: Any) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError("expected a path")
    return Path(value).expanduser()


def _account_id(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 12 or not value.isdecimal():
        raise ValueError("expected twelve digits, in quotes")
    return value


def _region(value: Any) -> str:
    if not isinstance(value, str) or REGION_PATTERN.fullmatch(value) is None:
        raise ValueError("expected the name of an AWS region, like eu-central-1")
    return value


def _token(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]{16,}", value):
        raise ValueError("expected at least 16 visible ASCII characters without spaces")
    return value


def _origins(value: Any) -> tuple[str, ...]:
    """A list in the file; in the environment, separated by commas."""
    texts = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise ValueError("expected a list of origins")
    for text in texts:
        if ORIGIN_PATTERN.fullmatch(text) is None:
            raise ValueError(f"{text}: expected an origin as browsers send it, like https://console.example.net")
    return tuple(texts)


def _table(key: re.Pattern[str], key_says: str, address: re.Pattern[str], address_says: str) -> Parse:
    """A table in the file; in the environment `name=address`, separated by commas."""

    def parse(value: Any) -> tuple[tuple[str, str], ...]:
        if isinstance(value, str):
            parts = [part.strip().partition("=") for part in value.split(",") if part.strip()]
            value = {name.strip(): url.strip() for name, _, url in parts}
        if not isinstance(value, dict):
            raise ValueError("expected a table of addresses")
        for name, url in value.items():
            if not key.fullmatch(name):
                raise ValueError(f"{name}: expected {key_says}")
            if not isinstance(url, str) or address.fullmatch(url) is None:
                raise ValueError(f"{name}: expected {address_says}")
        return tuple(sorted(value.items()))

    return parse


_endpoints: Final = _table(
    SERVICE_PATTERN, "a service by botocore's name, like s3 or dynamodb",
    ENDPOINT_PATTERN, "an address like https://s3.eu-central-1.amazonaws.com",
)  # fmt: skip
_brokers: Final = _table(
    BROKER_PATTERN, "a broker's ARN, or its name or id alone",
    BROKER_ADDRESS_PATTERN, "an address like amqps://rabbit.example.net:5671, without user or password",
)  # fmt: skip


def _setting(default: Any, parse: Parse, doc: str, *, unit: str = "", source: str = "") -> Any:
    """One field of `Config`: how it is read, what it means, and where its number comes from."""
    metadata = {"parse": parse, "doc": doc, "unit": unit, "source": source, "default": default}
    return attrs.field(default=default, metadata=metadata)


@attrs.frozen(kw_only=True)
class Config:
    """The settings of one server. Field names are the names in the file; units are in the names."""

    host: str = _setting(
        "127.0.0.1", _text, "Address to listen on. Any other than a loopback address counts as production."
    )
    port: int = _setting(
        4566, _integer(0, 65_535), "TCP port of everything. 0 takes a free one, which is printed.",
        source="the port that scripts written for LocalStack assume",
    )  # fmt: skip
    data_dir: Path = _setting(  # noqa: RUF009 - it declares an attrs field
        Path(".lambent"), _path,
        "Directory of all state: functions, code, logs, runtimes. A relative path in the file is relative to the file.",
    )  # fmt: skip
    auth: str = _setting(
        "open", _choice("open", "enforce"),
        "`open` reads account and region from a request's credentials and checks nothing; "
        "`enforce` verifies Signature V4 on every request, lets IAM's policies decide it, and counts as production.",
    )  # fmt: skip
    isolation: str = _setting(
        "auto", _choice("auto", "root", "rootless", "process"),
        "Level of the cage. `auto` takes the best one that the machine allows; `lambent doctor` names it.",
    )  # fmt: skip
    allow_process_level: bool = _setting(
        False, _flag,
        "Lets a production server start at level `process`, where functions are not isolated from this machine.",
    )  # fmt: skip
    service_user: str = _setting(
        "64566", _text,
        "User, by name or number, that the process which reads the network becomes when started by root. "
        "A number needs no entry in /etc/passwd.",
    )  # fmt: skip
    account_id: str = _setting(
        "000000000000", _account_id,
        "Account of requests whose access key id names none: it is neither twelve digits nor issued by this server.",
        unit="twelve digits",
    )  # fmt: skip
    region: str = _setting("us-east-1", _region, "Region of requests that name none.")
    internet: bool = _setting(
        False, _flag,
        "Functions may open connections to the internet (IPv4), besides Lambent's own endpoint; never to this machine. Needs "
        "level `root` and the program `nft`; a server refuses to start with it at `rootless`; at `process` functions have the "
        "machine's network anyway.",
    )  # fmt: skip
    internet_private: bool = _setting(
        False, _flag,
        "With `internet`, functions may also open connections to private networks: 10.0.0.0/8, 172.16.0.0/12, "
        "192.168.0.0/16, 100.64.0.0/10.",
    )  # fmt: skip
    ready_memory_mib: int = _setting(
        0, _integer(0, 1_048_576),
        "Memory that execution environments which wait for a function may take together. How many wait follows from recent "
        "cold starts. 0 takes a twentieth of the machine's memory; 1 makes nothing ahead.",
        unit="MiB",
    )  # fmt: skip
    memory_reserve_mib: int = _setting(
        0, _integer(0, 1_048_576),
        "Memory that stays free. When another environment would need it, idle ones are ended, the one that was used least "
        "recently first; then starts wait. 0 takes a fortieth of the machine's memory, at least 64 and at most 512.",
        unit="MiB",
    )  # fmt: skip
    memory_wait_s: int = _setting(
        10, _integer(1, 900),
        "How long the start of an environment waits for memory, functions in turn, before its invocation is throttled.",
        unit="seconds",
    )  # fmt: skip
    idle_environment_s: int = _setting(
        300, _integer(1, 86_400), "An execution environment that served nothing for so long is ended.", unit="seconds",
        source="AWS names no figure; several minutes is what its users see",
    )  # fmt: skip
    snapstart_memory_mib: int = _setting(
        1_024, _integer(0, 1_048_576),
        "SnapStart's images take no more memory than this, all together. Those used longest ago make room, and their versions "
        "start as others do until they have new ones. 0 turns SnapStart off.",
        unit="MiB", source="an image of a function with a boto3 client takes some 40 MiB",
    )  # fmt: skip
    freeze_after_ms: int = _setting(
        20, _integer(0, 60_000),
        "An idle environment's processes are stopped after this time; until then its background threads run on.",
        unit="milliseconds", source="freezing and thawing costs about 0.15 ms an invocation",
    )  # fmt: skip
    account_concurrency: int = _setting(
        1_000, _integer(1, 1_000_000),
        "Invocations that may run at once in each account and region; ten times as many synchronous ones may begin each "
        "second. 100 of them, or all where there are fewer, cannot be reserved by functions.",
        source="AWS's default quota",
    )  # fmt: skip
    metrics_token: str = _setting(
        "", _token,
        "With `auth = \"enforce\"`, who sends this in `Authorization: Bearer` reads `/_lambent/metrics`, besides the root: Prometheus "
        "cannot sign its requests. Without it the page is the root's alone.",
    )  # fmt: skip
    role_check: str = _setting(
        "auto", _choice("auto", "always", "never"),
        "Whether a function's role must be one that Lambda may assume. `auto`: a role that IAM knows must be, and with "
        "`auth = \"enforce\"` IAM must know it; `always`: IAM must know it; `never`: any well-formed ARN is taken.",
    )  # fmt: skip
    code_storage_mib: int = _setting(
        76_800, _integer(1, 1 << 30), "Packages of functions, their versions and layers, for each account in each region.",
        unit="MiB", source="AWS's quota for function and layer storage: 75 GB",
    )  # fmt: skip
    virtual_clock: bool = _setting(
        False, _flag,
        "`POST /_lambent/clock` turns the time of queues, retries, windows, schedules and metrics; for tests. Functions, their "
        "timeouts and their logs stay on the machine's time.",
    )  # fmt: skip
    kinesis_limits: bool = _setting(
        False, _flag,
        "Shards of Kinesis streams are throttled as AWS's are: each second 1,000 records and 1 MiB go in, and 5 `GetRecords` and "
        "2 MiB come out; for tests of what clients do then.",
    )  # fmt: skip
    log_format: str = _setting("text", _choice("text", "json"), "Form of the server's own log on standard error.")
    allowed_origins: tuple[str, ...] = _setting(
        (), _origins,
        "Origins of web pages that may call this server from a browser, besides pages of this machine "
        "(`localhost`, `127.0.0.1`). In the environment separated by commas.",
    )  # fmt: skip
    endpoints: tuple[tuple[str, str], ...] = _setting(
        (), _endpoints,
        "Table of services, by botocore's names, that are elsewhere: `s3 = \"https://s3.eu-central-1.amazonaws.com\"`. Requests for "
        "them are signed again with the server's own AWS credentials (environment, profile or role) and sent there. In the "
        "environment `service=address`, separated by commas.",
    )  # fmt: skip

    brokers: tuple[tuple[str, str], ...] = _setting(
        (), _brokers,
        "Table of RabbitMQ brokers that event source mappings read: an Amazon MQ broker's ARN, or its name or id alone, and where "
        "it really is: `orders = \"amqps://rabbit.example.net:5671\"`. User and password come from the mapping's secret. Certificates "
        "are checked against the machine's authorities (`SSL_CERT_FILE` names others). In the environment `name=address`, "
        "separated by commas.",
    )  # fmt: skip

    @property
    def production(self) -> bool:
        """Strangers may reach this server, or it checks who calls: then nothing unsafe happens unasked."""
        return self.auth == "enforce" or not _is_loopback(self.host)

    def service_ids(self) -> tuple[int, int]:
        """The (uid, gid) that the serving process takes. Raises ConfigError when there is no such user."""
        if self.service_user.isdecimal():
            return int(self.service_user), int(self.service_user)
        try:
            entry = pwd.getpwnam(self.service_user)
        except KeyError:
            raise ConfigError(
                f"service_user: there is no user named {self.service_user!r}; create it, or give a number"
            ) from None
        return entry.pw_uid, entry.pw_gid

    def refuse_level(self, level: str) -> None:
        """Raises ConfigError when a server with these settings must not run at isolation level `level`."""
        if level == "rootless" and self.internet:
            raise ConfigError(
                "internet = true cannot be kept at isolation level rootless: start Lambent as root, or take the setting away "
                "and let functions reach what they need through Lambent's own endpoint"
            )
        if self.internet_private and not self.internet:
            raise ConfigError("internet_private = true means nothing without internet = true")
        if level == "process" and self.production and not self.allow_process_level:
            raise ConfigError(
                "refusing to serve at isolation level process, where functions could read and change this machine; "
                "run `lambent doctor` for what a better level needs, or set allow_process_level = true"
            )


FIELDS: Final = {field.name: field for field in attrs.fields(Config)}


def load(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    working_dir: Path | None = None,
) -> Config:
    """Reads every source once.

    `file` must exist when given; else LAMBENT_CONFIG's file, else `lambent.toml` in the working directory if there is
    one. `flags` that are None were not given. Raises ConfigError.
    """
    environ = os.environ if environ is None else environ
    working_dir = working_dir or Path.cwd()
    values: dict[str, Any] = {}
    for name, raw, said in _everything(_find_file(file, environ, working_dir), environ, flags or {}):
        try:
            values[name] = FIELDS[name].metadata["parse"](raw)
        except ValueError as error:
            raise ConfigError(f"{said}: {error}, not {raw!r}") from None
    config = Config(**values)
    return attrs.evolve(config, data_dir=(working_dir / config.data_dir).resolve())


def _everything(
    file: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]
) -> Iterator[tuple[str, Any, str]]:
    """(setting, raw value, where it was given), weakest source first."""
    if file is not None:
        for key, value in _read_toml(file).items():
            said = f"{file}: {key}"
            name = _known(key, FIELDS, said)
            yield (
                name,
                file.parent / _path(value) if name == "data_dir" and isinstance(value, str) and value else value,
                said,
            )
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES:
            continue
        variables = {PREFIX + name.upper(): name for name in FIELDS}
        yield variables[_known(variable, variables, variable)], environ[variable], variable
    for name, value in flags.items():
        if value is not None:
            yield _known(name, FIELDS, name), value, "--" + name.replace("_", "-")


def _find_file(file: Path | None, environ: Mapping[str, str], working_dir: Path) -> Path | None:
    asked = file or (Path(environ["LAMBENT_CONFIG"]) if environ.get("LAMBENT_CONFIG") else None)
    if asked is None:
        found = working_dir / FILE_NAME
        return found if found.is_file() else None
    asked = working_dir / asked
    if not asked.is_file():
        raise ConfigError(f"{asked}: there is no such file; give another one by --config")
    return asked


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None


def _known(name: str, names: Mapping[str, Any], said: str) -> str:
    if name in names:
        return name
    raise ConfigError(f"{said}: there is no such setting{_nearest(name, names)}; docs/configuration.md lists them all")


def _nearest(name: str, names: Mapping[str, Any] | tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def reference() -> str:
    """docs/configuration.md's table, as Markdown."""
    rows = ["| setting | default | environment variable | meaning |", "|---|---|---|---|"]
    for name, field in FIELDS.items():
        meta = field.metadata
        variable = PREFIX + name.upper()
        unit = f" Unit: {meta['unit']}." if meta["unit"] else ""
        source = f" ({meta['source'][0].upper()}{meta['source'][1:]}.)" if meta["source"] else ""
        rows.append(f"| `{name}` | `{_shown(meta['default'])}` | `{variable}` | {meta['doc']}{unit}{source} |")
    return "\n".join(rows) + "\n"


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return str(list(default)) if isinstance(default, tuple) else str(default)


if __name__ == "__main__":
    print(reference(), end="")
