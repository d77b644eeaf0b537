"""A thread for each connection: reads questions, has them answered, waits until what they changed is on disk."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Any, Final

from lambent.model.errors import AwsError
from lambent.neighbours import frames
from lambent.neighbours.frames import LENGTHS, Answer, Ask, Call, Failed, Question, Result, Served, Wire
from lambent.neighbours.moto_process import collections, happenings, identities, roots
from lambent.neighbours.moto_process.backends import run
from lambent.neighbours.moto_process.calls import Requested, serve_call, serve_wire, unit_for
from lambent.neighbours.moto_process.state import State
from lambent.neighbours.operations import changes_identities, is_read, waits

log = logging.getLogger(__name__)

FINISH_S: Final = 5.0
INTERNAL: Final = "The request processing has failed because of an unknown error, exception or failure."


class Service:
    """Answers the server's questions."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._busy = 0
        self._changed = threading.Condition()
        self._finishing = False

    def accept(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._converse, args=(connection,), daemon=True, name="connection").start()

    def finish(self) -> None:
        """Waits for what is being answered, takes no more."""
        with self._changed:
            self._finishing = True
            self._changed.wait_for(lambda: self._busy == 0, FINISH_S)

    def _converse(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            try:
                while (lengths := stream.read(LENGTHS.size)) and len(lengths) == LENGTHS.size:
                    head_bytes, body_bytes = LENGTHS.unpack(lengths)
                    question = frames.decode_question(stream.read(head_bytes))
                    answer, body = self._counted(question, stream.read(body_bytes) if body_bytes else b"")
                    connection.sendall(frames.frame(answer, len(body)))
                    if body:
                        connection.sendall(body)
            except OSError:
                return  # the server went away: so will we

    def _counted(self, question: Question, body: bytes) -> tuple[Answer, bytes]:
        with self._changed:
            if self._finishing:
                return Failed("ServiceUnavailable", "The server is stopping.", 503), b""
            self._busy += 1
        try:
            return self.answer(question, body)
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def answer(self, question: Question, body: bytes) -> tuple[Answer, bytes]:
        """Never raises: the outermost edge of each question."""
        try:
            if isinstance(question, Ask):
                return Result(self._own(question)), b""
            return self._of_a_service(question, body)
        except AwsError as error:
            return Failed(error.code, error.message, error.status, error.fields), b""
        except NotImplementedError:
            assert not isinstance(question, Ask)
            what = f"{question.service}:{question.operation}"
            return Failed("NotImplemented", f"{what} is not offered by Lambent's {question.service}.", 501), b""
        except Exception:  # whatever it was, the caller gets AWS's answer
            name = question.about if isinstance(question, Ask) else f"{question.service}:{question.operation}"
            log.exception("%s failed; report it with this traceback", name)
            return Failed("InternalFailure", INTERNAL, 500), b""

    def _of_a_service(self, question: Wire | Call, body: bytes) -> tuple[Answer, bytes]:
        requested = Requested.of(question)
        roots.remember(question.account_id, question.root_key)
        reading = is_read(question.service, question.operation)
        collections.writing.now = not reading
        unit = unit_for(requested)
        self._state.refuse_unreadable(unit)
        with (
            happenings.collecting(question.operation) as happened,
            run(None if waits(question.service, question.operation) else unit) as done,
        ):
            value: Any = serve_wire(question, body) if isinstance(question, Wire) else serve_call(question)
        if not reading and requested.object_of_s3 is not None:
            collections.mark_object(*requested.object_of_s3)
        if reading:
            self._state.look_later(done.touched)
        else:
            self._state.keep(done.touched)
        changed = not reading and changes_identities(question.service)
        if isinstance(question, Wire):
            status, headers, content = value
            return Served(status, headers, changed, happened), content
        return Result(value, changed, happened), b""

    def _own(self, question: Ask) -> Any:
        if question.about == "keys":
            return identities.access_keys()
        if question.about == "policies":
            return identities.policies(question.account_id, question.name)
        if question.about == "role":
            return identities.role(question.account_id, question.name)
        if question.about == "status":
            return self._state.status()
        raise AwsError("UnknownOperationException", f"There is no question about {question.about}.", 404)
