"""How often, and after how long, a delivery is tried again.

https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html has the phases: at once, then a few times
with the least delay, then with delays that grow, then a few times with the longest one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import attrs

from lambent.services.sns.errors import Wrong

CONTENT_TYPE: Final = "text/plain; charset=UTF-8"
TOTAL_MAX_S: Final = 3600  # of an HTTP policy's delays together
RETRIES_MAX: Final = 100
_RETRY_NAMES: Final = (
    "minDelayTarget", "maxDelayTarget", "numRetries", "numMaxDelayRetries", "numNoDelayRetries", "numMinDelayRetries",
)  # fmt: skip
_FUNCTIONS: Final = ("linear", "arithmetic", "geometric", "exponential")
DEFAULT_RETRY: Final[Mapping[str, Any]] = {
    "minDelayTarget": 20, "maxDelayTarget": 20, "numRetries": 3, "numMaxDelayRetries": 0, "numNoDelayRetries": 0,
    "numMinDelayRetries": 0, "backoffFunction": "linear",
}  # fmt: skip
_DEFAULT_REQUEST: Final[Mapping[str, Any]] = {"headerContentType": CONTENT_TYPE}
_OF_SUBSCRIPTION: Final = ("healthyRetryPolicy", "sicklyRetryPolicy", "throttlePolicy", "requestPolicy", "guaranteed")
_OF_TOPIC: Final = (
    "defaultHealthyRetryPolicy", "defaultSicklyRetryPolicy", "disableSubscriptionOverrides", "defaultThrottlePolicy",
    "defaultRequestPolicy",
)  # fmt: skip


@attrs.frozen(kw_only=True)
class Phases:
    """Numbers of retries, and seconds."""

    at_once: int
    with_least: int
    growing: int
    with_longest: int
    least_s: float
    longest_s: float
    function: str = "exponential"

    def delay_s(self, retry: int) -> float | None:
        """Before this retry, counted from 1; None when there is none any more."""
        if retry <= self.at_once:
            return 0.0
        retry -= self.at_once
        if retry <= self.with_least:
            return self.least_s
        retry -= self.with_least
        if retry <= self.growing:
            return self._grown_s(retry)
        return self.longest_s if retry - self.growing <= self.with_longest else None

    def _grown_s(self, step: int) -> float:
        """From the least to the longest delay. AWS shows the four curves without their formulas; these are ours."""
        if self.growing == 1:
            return self.least_s
        part = (step - 1) / (self.growing - 1)
        span_s = self.longest_s - self.least_s
        match self.function:
            case "arithmetic":
                grown_s = self.least_s + span_s * part * part
            case "geometric":
                grown_s = self.least_s * (self.longest_s / self.least_s) ** part
            case "exponential":
                grown_s = self.least_s + span_s * (2 ** (step - 1) - 1) / (2 ** (self.growing - 1) - 1)
            case _:
                grown_s = self.least_s + span_s * part
        return float(min(grown_s, self.longest_s))


MANAGED: Final = Phases(at_once=3, with_least=2, growing=10, with_longest=100_000, least_s=1, longest_s=20)
"""SQS and Lambda."""
MAIL: Final = Phases(at_once=0, with_least=2, growing=10, with_longest=38, least_s=10, longest_s=600)


def check_topic(text: str) -> dict[str, Any] | None:
    """The topic's own policy as it is given back; None for none. Raises Wrong."""
    policy = _object(text)
    if policy is None:
        return None
    http = policy.get("http")
    if not isinstance(http, dict) or set(policy) != {"http"}:
        raise Wrong("DeliveryPolicy: must have http and nothing else")
    _check_names(http, _OF_TOPIC)
    _check_retry(http.get("defaultHealthyRetryPolicy"))
    _check_throttle(http.get("defaultThrottlePolicy"))
    _check_request(http.get("defaultRequestPolicy"))
    kept = {name: http[name] for name in _OF_TOPIC if http.get(name) is not None}
    return {"http": {"disableSubscriptionOverrides": False, **kept}}


def check_subscription(text: str) -> dict[str, Any] | None:
    """The same for a subscription's. Raises Wrong."""
    policy = _object(text)
    if policy is None:
        return None
    _check_names(policy, _OF_SUBSCRIPTION)
    _check_retry(policy.get("healthyRetryPolicy"))
    _check_throttle(policy.get("throttlePolicy"))
    _check_request(policy.get("requestPolicy"))
    retry = policy.get("healthyRetryPolicy")
    return {
        "healthyRetryPolicy": {**DEFAULT_RETRY, **retry} if retry else None,
        "sicklyRetryPolicy": policy.get("sicklyRetryPolicy"),
        "throttlePolicy": policy.get("throttlePolicy"),
        "requestPolicy": policy.get("requestPolicy"),
        "guaranteed": bool(policy.get("guaranteed", False)),
    }


def effective_of_topic(policy: Mapping[str, Any] | None) -> dict[str, Any]:
    http = (policy or {}).get("http", {})
    effective = {
        "defaultHealthyRetryPolicy": {**DEFAULT_RETRY, **(http.get("defaultHealthyRetryPolicy") or {})},
        "disableSubscriptionOverrides": bool(http.get("disableSubscriptionOverrides", False)),
        "defaultRequestPolicy": {**_DEFAULT_REQUEST, **(http.get("defaultRequestPolicy") or {})},
    }
    if http.get("defaultThrottlePolicy"):
        effective["defaultThrottlePolicy"] = http["defaultThrottlePolicy"]
    return {"http": effective}


def effective(of_topic: Mapping[str, Any] | None, own: Mapping[str, Any] | None) -> dict[str, Any]:
    """A subscription's, with what the topic and AWS say where it says nothing."""
    http = effective_of_topic(of_topic)["http"]
    mine: Mapping[str, Any] = {} if http["disableSubscriptionOverrides"] or own is None else own
    return {
        "healthyRetryPolicy": mine.get("healthyRetryPolicy") or http["defaultHealthyRetryPolicy"],
        "sicklyRetryPolicy": mine.get("sicklyRetryPolicy"),
        "throttlePolicy": mine.get("throttlePolicy") or http.get("defaultThrottlePolicy"),
        "requestPolicy": mine.get("requestPolicy") or http["defaultRequestPolicy"],
        "guaranteed": bool(mine.get("guaranteed", False)),
    }


def phases_of(effective_policy: Mapping[str, Any]) -> Phases:
    retry = effective_policy["healthyRetryPolicy"]
    growing = (
        retry["numRetries"] - retry["numNoDelayRetries"] - retry["numMinDelayRetries"] - retry["numMaxDelayRetries"]
    )
    return Phases(
        at_once=retry["numNoDelayRetries"], with_least=retry["numMinDelayRetries"], growing=growing,
        with_longest=retry["numMaxDelayRetries"], least_s=retry["minDelayTarget"], longest_s=retry["maxDelayTarget"],
        function=retry["backoffFunction"],
    )  # fmt: skip


def _object(text: str) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        policy = json.loads(text)
    except ValueError as error:
        raise Wrong("DeliveryPolicy: failed to parse JSON") from error
    if not isinstance(policy, dict):
        raise Wrong("DeliveryPolicy: must be a JSON object")
    return policy or None


def _check_names(policy: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in policy:
        if name not in known:
            raise Wrong(f"DeliveryPolicy: unknown field {name}")


def _check_retry(given: Any) -> None:
    if given is None:
        return
    if not isinstance(given, dict):
        raise Wrong("DeliveryPolicy: a retry policy must be a JSON object")
    _check_names(given, (*_RETRY_NAMES, "backoffFunction"))
    retry = {**DEFAULT_RETRY, **given}
    for name in _RETRY_NAMES:
        if not isinstance(retry[name], int) or isinstance(retry[name], bool) or retry[name] < 0:
            raise Wrong(f"DeliveryPolicy: {name} must be a whole number that is not negative")
    if retry["backoffFunction"] not in _FUNCTIONS:
        raise Wrong("DeliveryPolicy: backoffFunction must be one of " + ", ".join(_FUNCTIONS))
    if not 1 <= retry["minDelayTarget"] <= retry["maxDelayTarget"] <= TOTAL_MAX_S:
        raise Wrong("DeliveryPolicy: delays must be between 1 and 3600 seconds, the least not above the longest")
    phased = retry["numNoDelayRetries"] + retry["numMinDelayRetries"] + retry["numMaxDelayRetries"]
    if retry["numRetries"] > RETRIES_MAX or phased > retry["numRetries"]:
        raise Wrong("DeliveryPolicy: numRetries must be at most 100, and not less than those of its phases")
    phases = phases_of({"healthyRetryPolicy": retry})
    if sum(phases.delay_s(n) or 0.0 for n in range(1, retry["numRetries"] + 1)) > TOTAL_MAX_S:
        raise Wrong(f"DeliveryPolicy: the total of all delays must not be above {TOTAL_MAX_S} seconds")


def _check_throttle(given: Any) -> None:
    if given is None:
        return
    rate = given.get("maxReceivesPerSecond") if isinstance(given, dict) else None
    if not isinstance(rate, int) or isinstance(rate, bool) or rate < 1:
        raise Wrong("DeliveryPolicy: maxReceivesPerSecond must be a whole number of at least 1")


def _check_request(given: Any) -> None:
    if given is None:
        return
    content_type = given.get("headerContentType") if isinstance(given, dict) else None
    if not isinstance(content_type, str) or not content_type.isprintable() or not content_type.isascii():
        raise Wrong("DeliveryPolicy: headerContentType must be the name of a media type")
