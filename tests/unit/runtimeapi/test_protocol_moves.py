"""Every state against every move: what is not listed here as allowed is refused, and changes nothing."""

from __future__ import annotations

import pytest

from lambent.runtimeapi.protocol import (
    Extension,
    ExtensionMove,
    ExtensionRegistry,
    ExtensionState,
    Refusal,
    RuntimeMove,
    RuntimeProtocol,
    RuntimeState,
)

RUNTIME_ALLOWED = """
STARTED          NEXT       READY
STARTED          INIT_ERROR INIT_ERROR
READY            EVENT      RUNNING
READY            WAIT_LOST  RESPONSE_SENT
RUNNING          NEXT       RUNNING
RUNNING          EXCHANGE   READY
RUNNING          RESPONSE   RESPONDING
RUNNING          ERROR      RESPONDING_ERROR
RESPONDING       SENT       RESPONSE_SENT
RESPONDING       BODY_LOST  RUNNING
RESPONDING_ERROR SENT       RESPONSE_SENT
RESPONDING_ERROR BODY_LOST  RUNNING
RESPONSE_SENT    NEXT       READY
"""

EXTENSION_ALLOWED = """
STARTED    REGISTER   REGISTERED
REGISTERED NEXT       READY
REGISTERED INIT_ERROR INIT_ERROR
REGISTERED EXIT_ERROR EXIT_ERROR
READY      EVENT      RUNNING
READY      WAIT_LOST  RUNNING
READY      EXIT_ERROR EXIT_ERROR
RUNNING    NEXT       READY
RUNNING    EXIT_ERROR EXIT_ERROR
INIT_ERROR INIT_ERROR INIT_ERROR
EXIT_ERROR EXIT_ERROR EXIT_ERROR
"""


def _table(text: str) -> dict[tuple[str, str], str]:
    rows = (line.split() for line in text.strip().splitlines())
    return {(state, move): after for state, move, after in rows}


@pytest.mark.parametrize("state", RuntimeState, ids=lambda s: s.name)
@pytest.mark.parametrize("move", RuntimeMove, ids=lambda m: m.name)
def test_a_runtime_makes_only_the_moves_that_are_written_down(state: RuntimeState, move: RuntimeMove) -> None:
    protocol = RuntimeProtocol()
    protocol.state = state
    refusal = protocol.move(move)
    after = "GONE" if move is RuntimeMove.GONE else _table(RUNTIME_ALLOWED).get((state.name, move.name))
    if after is not None:
        assert refusal is None
        assert protocol.state.name == after
    else:
        assert refusal is not None
        assert (refusal.status, refusal.error_type) == (403, "InvalidStateTransition")
        assert protocol.state is state


@pytest.mark.parametrize("state", ExtensionState, ids=lambda s: s.name)
@pytest.mark.parametrize("move", ExtensionMove, ids=lambda m: m.name)
def test_an_extension_makes_only_the_moves_that_are_written_down(state: ExtensionState, move: ExtensionMove) -> None:
    extension = Extension("watcher", external=True, state=state)
    refusal = extension.move(move)
    after = "EXITED" if move is ExtensionMove.EXITED else _table(EXTENSION_ALLOWED).get((state.name, move.name))
    if after is not None:
        assert refusal is None
        assert extension.state.name == after
    else:
        assert refusal is not None
        assert (refusal.status, refusal.error_type) == (403, "Extension.InvalidExtensionState")
        assert extension.state is state


def test_refusals_are_worded_as_aws_words_them() -> None:
    runtime = RuntimeProtocol()
    assert runtime.move(RuntimeMove.RESPONSE) == Refusal(
        403,
        "InvalidStateTransition",
        "State transition from Started to InvocationResponse failed for runtime. Error: State transition is not allowed",
    )
    extension = Extension("watcher", external=True)
    refusal = extension.move(ExtensionMove.NEXT)
    assert refusal is not None
    assert refusal.message == (
        f"State transition from Started to Ready failed for extension {extension.identifier}. "
        "Error: State transition is not allowed"
    )


class TestRegistration:
    def test_an_expected_name_is_an_external_extension_and_may_ask_for_shutdown(self) -> None:
        registry = ExtensionRegistry()
        registry.expect("watcher")
        assert not registry.all_registered
        extension = registry.register("watcher", ("INVOKE", "SHUTDOWN"))
        assert isinstance(extension, Extension)
        assert extension.external
        assert registry.all_registered
        assert registry.subscribed("SHUTDOWN") == [extension]

    def test_any_other_name_is_an_internal_extension_which_may_not(self) -> None:
        assert ExtensionRegistry().register("inner", ("SHUTDOWN",)) == Refusal(
            403, "Extension.InvalidEventType", "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension"
        )

    def test_an_unknown_event_is_refused_and_the_extension_may_try_again(self) -> None:
        registry = ExtensionRegistry()
        assert registry.register("inner", ("NAP",)) == Refusal(
            403, "Extension.InvalidEventType", "NAP: ErrorInvalidEventType"
        )
        assert isinstance(registry.register("inner", ("INVOKE",)), Extension)

    def test_a_name_registers_once(self) -> None:
        registry = ExtensionRegistry()
        registry.register("inner", ())
        refusal = registry.register("inner", ())
        assert isinstance(refusal, Refusal)
        assert refusal.message == "Extension with this name already registered"

    def test_ten_extensions_are_the_limit(self) -> None:
        registry = ExtensionRegistry()
        for number in range(4):
            registry.expect(f"outer{number}")
        for number in range(6):
            assert isinstance(registry.register(f"inner{number}", ()), Extension)
        assert registry.register("one too many", ()) == Refusal(
            403, "Extension.TooManyExtensions", "Extension limit (10) reached"
        )

    def test_nobody_registers_after_the_init_phase(self) -> None:
        registry = ExtensionRegistry()
        registry.open = False
        assert registry.register("late", ()) == Refusal(
            403, "Extension.RegistrationClosed", "Extension registration closed already"
        )

    def test_those_that_are_gone_get_nothing_and_hold_nobody_up(self) -> None:
        registry = ExtensionRegistry()
        registry.expect("watcher")
        extension = registry.register("watcher", ("INVOKE",))
        assert isinstance(extension, Extension)
        assert not registry.all_ready
        extension.move(ExtensionMove.EXITED)
        assert registry.all_ready
        assert registry.subscribed("INVOKE") == []
