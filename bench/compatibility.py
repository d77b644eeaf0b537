"""`python -m bench.compatibility`: asks a running server about every operation and member of Lambda's model, and writes down
what it did, as docs/compatibility-lambda.md.

Of each operation a good request is sent twice, and then once more for each member that is optional, with a value that shows.
What can be seen decides, by these rules in this order:

refused    the answer is an error, although AWS takes this value
stored     the value comes back, in the answer or when the thing is read
effect     answer or state differ from those of the good requests (in more than these two differ from each other), or the
           value was wrong on purpose and is refused as AWS refuses it
nothing    none of these: the member is taken, and nothing shows for it

That a value has the effect that AWS promises is more than this can see: `CHECKED` names the tests that do.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import itertools
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

from bench.compatibility_requests import (
    ACCOUNT,
    READ_BACK,
    RECIPES,
    RECIPES_OF_MEMBERS,
    REGION,
    RIGHTLY_REFUSED,
    ROLE,
    RUNTIME,
    VALUES,
    WITH,
    Members,
    package,
)
from bench.compatibility_things import made_things
from lambent.bench.server import Server

PAGE: Final = Path(__file__).parents[1] / "docs" / "compatibility-lambda.md"
ACTIVE_WITHIN_S: Final = 30.0
MODEL: Final = botocore.session.get_session().get_service_model("lambda")

# Members whose effect on a function that runs, or on who may do what, a test of its own holds.
CHECKED: Final[Mapping[str, str]] = {
    "DeadLetterConfig": "tests/unit/dispatch/test_asynchronous_events.py::test_a_failing_event_comes_three_times_and_then_to_its_dead_letters",
    "EphemeralStorage": "tests/system/bad_input/test_bad_appetites.py::test_a_full_tmp_says_so_and_is_not_the_functions_memory",
    "Handler": "tests/conformance/test_guest_python.py::test_handlers_are_found_in_directories_and_packages",
    "Layers": "tests/conformance/test_clients_boto3.py::test_layers_lie_over_each_other_in_opt",
    "LoggingConfig": "tests/system/invoke/test_wrappers_and_log_formats.py::test_a_log_group_of_ones_own",
    "MaximumRetryAttempts": "tests/unit/dispatch/test_asynchronous_events.py::test_the_number_of_retries_is_the_functions_own",
    "MemorySize": "tests/system/bad_input/test_bad_appetites.py::test_memory_without_end_is_an_out_of_memory_error",
    "ReservedConcurrentExecutions": "tests/system/test_concurrency_limits.py::test_a_function_runs_as_often_at_once_as_it_has_reserved",
    "RoutingConfig": "tests/unit/control/test_versions_aliases_layers.py::test_an_alias_with_weights_shares_out_invocations",
    "Runtime": "tests/system/test_languages_in_cages.py::test_nodejs_runs_in_a_cage",
    "TenancyConfig": "tests/system/invoke/test_endings.py::test_no_environment_serves_two_tenants",
    "Timeout": "tests/system/invoke/test_road.py::test_a_timeout_ends_the_environment_and_says_so",
}

# What is another each time: names, UUIDs, the ids of resources (`subnet-0123abcd`), addresses, times.
_GENERATED: Final = re.compile(
    r"c-\d{5}|(?<=-)[0-9a-f]{8,17}\b|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|https?://\S+|\d{4}-\d\d-\d\dT\S+"
)
KINDS: Final = ("stored", "effect", "nothing", "refused")


@attrs.frozen
class Seen:
    """One answer, and the state after it."""

    error: tuple[int, str, str] | None  # status, code, message
    answer: Members
    state: Members

    def flat(self) -> dict[str, Any]:
        return dict(_leaves({"answer": self.answer, "state": self.state, "error": self.error}))


@attrs.define
class Found:
    """What the server does with one operation."""

    operation: str
    refusal: str | None = None  # of the good request itself
    members: dict[str, list[str]] = attrs.field(factory=lambda: {kind: [] for kind in KINDS})
    refusals: dict[str, str] = attrs.field(factory=dict)  # by member
    given: set[str] = attrs.field(factory=set)  # members of the output


class Prober:
    """Sends requests to one server, in a region of its own."""

    def __init__(self, url: str) -> None:
        def connect(service: str) -> Any:
            return boto3.client(
                service, endpoint_url=url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test",
                config=Config(
                    retries={"total_max_attempts": 1}, parameter_validation=False, s3={"addressing_style": "path"}
                ),
            )  # fmt: skip

        self._numbers = itertools.count(1)
        self._things = made_things(connect)
        self._client = connect("lambda")
        self._sqs = connect("sqs")

    def close(self) -> None:
        self._client.close()
        self._sqs.close()

    # Maker

    def name(self) -> str:
        return f"c-{next(self._numbers):05d}"

    def done(self, operation: str, members: Members) -> Members:
        """Raises ClientError."""
        method = getattr(self._client, botocore.xform_name(operation))
        answer: Members = method(**members)
        answer.pop("ResponseMetadata")
        return {name: _readable(value) for name, value in answer.items()}

    def queue(self) -> str:
        """The ARN of a queue of its own, which is there if the server has SQS."""
        name = f"compatibility-{self.name()}"
        with contextlib.suppress(ClientError):
            self._sqs.create_queue(QueueName=name)
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"

    def thing(self, name: str) -> Any:
        """See bench.compatibility_things."""
        return self._things.get(name)

    def function(self, versions: int = 0, **members: Any) -> str:
        name = self.name()
        whole: Members = {"FunctionName": name, "Role": ROLE, "Runtime": RUNTIME, "Handler": "app.handler"}
        whole |= {"Code": {"ZipFile": package()}, **members}
        self.done("CreateFunction", {member: value for member, value in whole.items() if value is not None})
        self._until_ready(name)
        for number in range(versions):
            if number:
                self.done("UpdateFunctionConfiguration", {"FunctionName": name, "Description": str(number)})
                self._until_ready(name)
            self.done("PublishVersion", {"FunctionName": name})
        return name

    def settled_mapping(self, uuid: str) -> Members:
        """An event source mapping when nothing is being done to it any more."""
        end = time.monotonic() + ACTIVE_WITHIN_S
        while time.monotonic() < end:
            found = self.done("GetEventSourceMapping", {"UUID": uuid})
            if found["State"] in ("Enabled", "Disabled"):
                return found
            time.sleep(0.002)
        raise SystemExit(f"event source mapping {uuid} is not settled after {ACTIVE_WITHIN_S} s")

    def _until_ready(self, name: str) -> None:
        end = time.monotonic() + ACTIVE_WITHIN_S
        while time.monotonic() < end:
            found = self.done("GetFunctionConfiguration", {"FunctionName": name})
            if found["State"] == "Active" and found["LastUpdateStatus"] == "Successful":
                return
            time.sleep(0.002)
        raise SystemExit(f"{name} did not become active in {ACTIVE_WITHIN_S} s")

    # looking

    def probe(self, operation: str) -> Found:
        found = Found(operation)
        first, second = self._sent(operation, {}), self._sent(operation, {})
        if first.error is not None:
            found.refusal = _refusal(first.error)
            return found
        found.given |= first.answer.keys()
        before = _steady(first.flat(), second.flat())
        shape = MODEL.operation_model(operation).input_shape
        for member in shape.members:
            if member in shape.required_members:
                continue
            value = self._value(operation, member, shape.members[member])
            seen = self._sent(operation, {**WITH.get(f"{operation}.{member}", {}), member: value}, member)
            kind = _kind(operation, member, value, seen, self._without(operation, member) or before)
            found.members[kind].append(member)
            if kind == "refused" and seen.error is not None:
                found.refusals[member] = _refusal(seen.error)
            found.given |= seen.answer.keys()
        return found

    def _without(self, operation: str, member: str) -> dict[str, Any] | None:
        """What there is to compare with where the member needs other circumstances than the operation's own."""
        key = f"{operation}.{member}"
        if key not in WITH and key not in RECIPES_OF_MEMBERS:
            return None
        more = {name: value for name, value in WITH.get(key, {}).items() if name != member}
        one, other = (self._sent(operation, more, member) for _ in range(2))
        return _steady(one.flat(), other.flat())

    def _value(self, operation: str, member: str, shape: Any) -> Any:
        value = VALUES.get(f"{operation}.{member}", VALUES.get(member))
        if value is None:
            return _smallest(shape)
        return value(self) if callable(value) else value

    def _sent(self, operation: str, more: Members, member: str = "") -> Seen:
        recipe = RECIPES_OF_MEMBERS.get(f"{operation}.{member}", RECIPES[operation])
        members = {**recipe(self), **{name: value(self) if callable(value) else value for name, value in more.items()}}
        members = {name: value for name, value in members.items() if value is not None}
        try:
            answer = self.done(operation, members)
        except ClientError as failure:
            said = failure.response["Error"]
            error = (failure.response["ResponseMetadata"]["HTTPStatusCode"], said["Code"], said.get("Message", ""))
            return Seen(error, {}, {})
        return Seen(None, answer, self._state(operation, members, answer))

    def _state(self, operation: str, members: Members, answer: Members) -> Members:
        known = {**dict(_named(answer)), **members}
        state = {}
        for reader, names in READ_BACK.get(operation, ()):
            pairs = [name.split("=") for name in names]
            asked = {pair[0]: known[pair[-1]] for pair in pairs}
            try:
                state[reader] = self._read(reader, asked)
            except ClientError as error:
                state[reader] = {"error": error.response["Error"]["Code"]}
        return state

    def _read(self, reader: str, asked: Members) -> Members:
        """When nothing is under way any more."""
        if reader == "GetEventSourceMapping":
            return self.settled_mapping(asked["UUID"])
        if reader in ("GetFunction", "GetFunctionConfiguration"):
            self._until_ready(asked["FunctionName"])
        return self.done(reader, asked)


def _readable(value: Any) -> Any:
    """Streams as what is in them."""
    if hasattr(value, "read"):
        return value.read().decode()
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str | bytes | list | dict) else value


def _refusal(error: tuple[int, str, str]) -> str:
    status, code, message = error
    return f"{status} `{code}`" + ("" if code == "NotImplemented" else f": {_GENERATED.sub('…', message)}")


def _smallest(shape: Any) -> Any:
    match shape.type_name:
        case "boolean":
            return True
        case "integer" | "long" | "double":
            return shape.metadata.get("min", 1)
        case "string":
            return (shape.metadata.get("enum") or ["a" * shape.metadata.get("min", 1)])[0]
        case "list":
            return [_smallest(shape.member)]
        case "structure":
            return {name: _smallest(shape.members[name]) for name in shape.required_members}
        case _:
            return {}


def _kind(operation: str, member: str, value: Any, seen: Seen, before: Mapping[str, Any]) -> str:
    if seen.error is not None:
        expected = RIGHTLY_REFUSED.get(f"{operation}.{member}", RIGHTLY_REFUSED.get(member))
        return "effect" if expected == seen.error[1] else "refused"
    if any(_comes_back(name, found, member, value) for name, found in _named([seen.answer, seen.state])):
        return "stored"
    after = seen.flat()
    return "effect" if any(after.get(path) != known for path, known in before.items()) else "nothing"


def _comes_back(name: str, found: Any, member: str, value: Any) -> bool:
    if name == "Policy" and isinstance(value, str):
        return value in found
    return name == member and _contains(found, value)


def _contains(found: Any, value: Any) -> bool:
    if isinstance(value, dict) and isinstance(found, dict):
        return all(name in found and _contains(found[name], part) for name, part in value.items())
    if isinstance(value, list) and isinstance(found, list):
        return len(found) == len(value) and all(
            _contains(one, other) or (isinstance(one, dict) and other in one.values())
            for one, other in zip(found, value, strict=True)
        )
    return bool(found == value)


def _named(value: Any) -> Iterator[tuple[str, Any]]:
    """Every member anywhere below."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield name, part
            yield from _named(part)
    elif isinstance(value, list):
        for part in value:
            yield from _named(part)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield path, sorted(value)
        for name, part in value.items():
            yield from _leaves(part, f"{path}.{name}")
    elif isinstance(value, list):
        yield path, len(value)
        for number, part in enumerate(value):
            yield from _leaves(part, f"{path}.{number}")
    else:
        if isinstance(value, datetime.datetime):
            value = "…"
        yield path, _GENERATED.sub("…", value) if isinstance(value, str) else value


def _steady(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What two answers to the same request have in common."""
    return {path: value for path, value in one.items() if path in other and other[path] == value}


# --- the page ----------------------------------------------------------------------------------------------------------


def survey(url: str) -> list[Found]:
    """Every operation of the model, by name."""
    prober = Prober(url)
    try:
        return [prober.probe(operation) for operation in sorted(MODEL.operation_names)]
    finally:
        prober.close()


def page(found: list[Found]) -> str:
    """The whole document."""
    served = [one for one in found if one.refusal is None]
    refused = [one for one in found if one.refusal is not None]
    lines = [
        "# Lambda's operations and members",
        "",
        "Made by `make compatibility` from the answers of a running server, member by member: "
        "[bench/compatibility.py](../bench/compatibility.py) says how. Do not edit it.",
        "",
        f"{len(served)} of {len(found)} operations answer a good request. Members that an operation requires are not listed: they "
        "decide what it does. **Stored** is what comes back as it was given; **has an effect** is what changes the answer or the state "
        "otherwise, or is refused when it is wrong; **nothing shows** is what is taken without a trace; **refused** is what AWS would take.",
        "",
        "| operation | stored | has an effect | nothing shows | refused | in answers | not in answers |",
        "|---|---|---|---|---|---|---|",
        *(_row(one) for one in served),
        "",
        "## Operations that a good request does not get an answer from",
        "",
        "| operation | answer |",
        "|---|---|",
        *(f"| `{one.operation}` | {one.refusal} |" for one in refused),
        "",
        "## Members that are refused",
        "",
        "| operation | member | answer |",
        "|---|---|---|",
        *(f"| `{one.operation}` | {member} | {said} |" for one in served for member, said in one.refusals.items()),
        "",
        "## Members whose effect is held by tests",
        "",
        "That a value is stored does not say that it is obeyed. Of these tests say it:",
        "",
        "| member | held by |",
        "|---|---|",
        *(_held_by(member, *place.split("::")) for member, place in CHECKED.items()),
        "",
    ]
    return "\n".join(lines)


def _held_by(member: str, file: str, test: str) -> str:
    return f"| `{member}` | [{test}](../{file}) |"


def _row(one: Found) -> str:
    output = MODEL.operation_model(one.operation).output_shape
    all_given = list(output.members) if output is not None else []
    given = [name for name in all_given if name in one.given]
    missing = [name for name in all_given if name not in one.given]
    columns = [*(one.members[kind] for kind in KINDS), given, missing]
    return f"| `{one.operation}` | " + " | ".join(", ".join(column) or "–" for column in columns) + " |"


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m bench.compatibility", description=__doc__)
    options.add_argument("--url", help="a server that runs; default one of its own")
    url = options.parse_args().url
    if url is not None:
        PAGE.write_text(page(survey(url)), encoding="utf-8")
    else:
        with tempfile.TemporaryDirectory(prefix="lambent-compatibility-") as directory:
            Path(directory).chmod(0o755)
            server = Server(Path(directory) / "data")
            try:
                PAGE.write_text(page(survey(f"http://127.0.0.1:{server.port}")), encoding="utf-8")
            finally:
                server.stop()
    print(f"Written to {PAGE}.")


if __name__ == "__main__":
    main()
