"""One connection to RabbitMQ with one channel and one consumer: AMQP 0-9-1 by aiormq.

Deliveries are kept until they are asked for. What is neither acknowledged nor rejected when the connection ends, however it
ends, is the broker's again, where it was in its queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from lambent.model.rabbit_records import RabbitMessage
from lambent.sources import rabbit_decoding
from lambent.sources.brokers import RabbitAddress
from lambent.sources.problem import (
    CONFIG_NOT_VALID,
    CONNECTION_ERROR,
    NOT_AUTHENTICATED,
    NOT_AUTHORIZED,
    SourceProblem,
)

if TYPE_CHECKING:  # imported when the first session is opened: most servers have no mapping of RabbitMQ
    import aiormq

ANSWER_S: Final = 15.0  # how long anything may take that the broker has to answer

CLOSE_S: Final = 3.0  # a server that stops waits for this


class RabbitSession:
    """Used by one task at a time. After a SourceProblem it is of no use any more: close it."""

    def __init__(self, address: RabbitAddress, queue: str) -> None:
        self.arrived = asyncio.Event()  # a message has, or the session is lost
        self._address = address
        self._queue = queue
        self._messages: list[RabbitMessage] = []
        self._connection: aiormq.abc.AbstractConnection | None = None
        self._channel: Any = None
        self._consumer: str | None = None
        self._lost: SourceProblem | None = None

    async def open(self) -> None:
        """Raises SourceProblem."""
        import aiormq

        rabbit_decoding.install()
        logging.getLogger("aiormq").setLevel(
            logging.CRITICAL
        )  # what it says is raised too, and told once by the poller
        try:
            async with asyncio.timeout(ANSWER_S):
                context = ssl.create_default_context() if self._address.is_encrypted else None
                self._connection = await aiormq.connect(self._address.url, context=context)
                self._channel = await self._connection.channel()
        except Exception as error:
            raise self._problem(error) from error
        self._channel.closing.add_done_callback(self._closed)
        self._channel.on_consumer_cancel_callbacks.add(self._cancelled)

    @property
    def is_open(self) -> bool:
        return self._channel is not None and self._lost is None

    async def close(self) -> None:
        """Gives back whatever is not done. Safe at any time."""
        self._consumer = None
        if self._connection is not None:
            with contextlib.suppress(Exception):  # there is nothing that a connection which ends badly could still do
                async with asyncio.timeout(CLOSE_S):
                    await self._connection.close()

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def consume(self, count: int) -> None:
        """From now on, up to `count` messages that are not done are here. Raises SourceProblem."""
        async with self._answered():
            await self._channel.basic_qos(prefetch_count=count)
            begun = await self._channel.basic_consume(self._queue, self._arrive)
            self._consumer = begun.consumer_tag

    def taken(self) -> list[RabbitMessage]:
        """What has arrived since. Raises SourceProblem when nothing will any more."""
        self.arrived.clear()
        if self._lost is not None:
            self.arrived.set()
            raise self._lost
        messages, self._messages = self._messages, []
        return messages

    async def pause(self) -> list[RabbitMessage]:
        """Ends consuming; returns the last that came, not yet taken. Raises SourceProblem."""
        async with self._answered():
            if self._consumer is not None:
                consumer, self._consumer = self._consumer, None
                await self._channel.basic_cancel(consumer)
                await asyncio.sleep(0)  # each delivery is a task of its own, and the last ones have only just begun
        return self.taken()

    async def _arrive(self, message: aiormq.abc.DeliveredMessage) -> None:
        properties = message.header.properties
        known = {name: getattr(properties, name) for name in properties.__slots__}
        known["cluster_id"] = known["cluster_id"] or None  # pamqp's value of one that is not set is ""
        assert message.delivery_tag is not None  # it is a delivery
        self._messages.append(
            RabbitMessage(message.delivery_tag, bool(message.redelivered), known, bytes(message.body))
        )
        self.arrived.set()

    # ── what is done ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def acknowledge(self, delivery_tag: int, *, all_before: bool = False) -> None:
        """Raises SourceProblem, and then it comes again."""
        async with self._answered():
            await self._channel.basic_ack(delivery_tag, multiple=all_before)

    async def refuse(self, delivery_tag: int) -> None:
        """For good: the broker drops it, or sends it where its queue's dead letters go. Raises SourceProblem."""
        async with self._answered():
            await self._channel.basic_nack(delivery_tag, requeue=False)

    async def give_back(self, delivery_tag: int) -> None:
        """Raises SourceProblem."""
        async with self._answered():
            await self._channel.basic_nack(delivery_tag, requeue=True)

    async def give_all_back(self) -> None:
        """Everything that was delivered and is not done; for when nothing is consumed. Raises SourceProblem."""
        async with self._answered():
            await self._channel.basic_nack(0, multiple=True, requeue=True)

    # ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────────────

    @contextlib.asynccontextmanager
    async def _answered(self) -> AsyncIterator[None]:
        if self._lost is not None:
            raise self._lost
        try:
            async with asyncio.timeout(ANSWER_S):
                yield
        except SourceProblem:
            raise
        except Exception as error:
            raise self._problem(error) from error

    def _lose(self, problem: SourceProblem) -> None:
        if self._lost is None:
            self._lost = problem
        self.arrived.set()

    def _closed(self, closing: asyncio.Future[Any]) -> None:
        error = None if closing.cancelled() else closing.exception()
        self._lose(self._problem(error if isinstance(error, Exception) else ConnectionError("the connection ended")))

    def _cancelled(self, _: object) -> None:
        self._lose(SourceProblem(CONFIG_NOT_VALID, f"Queue {self._queue} was deleted."))

    def _problem(self, error: Exception) -> SourceProblem:
        """In AWS's words, as far as it has any."""
        from aiormq import exceptions

        place = self._address.place
        cause = error.__cause__ or error.__context__
        match cause if isinstance(cause, ssl.SSLCertVerificationError) else error:  # aiormq wraps it
            case exceptions.AuthenticationError() | exceptions.ProbableAuthenticationError():
                return SourceProblem(NOT_AUTHENTICATED, f"{place} does not know the user or the password.")
            case exceptions.InvalidFrameError() if self._channel is None:
                # How aiormq tells of a Connection.Close in answer to Connection.Open; what the broker said is lost.
                said = "does not exist, has too many connections, or is not this user's to read."
                return SourceProblem(NOT_AUTHORIZED, f"{place} {said}")
            case exceptions.ConnectionNotAllowed() | exceptions.ChannelAccessRefused():
                return SourceProblem(NOT_AUTHORIZED, f"{place}: {_said(error)}")
            case exceptions.ChannelNotFoundEntity():
                return SourceProblem(CONFIG_NOT_VALID, f"{place}: {_said(error)}")
            case ssl.SSLCertVerificationError(verify_message=said):
                return SourceProblem(NOT_AUTHENTICATED, f"{place}: {said}")
            case TimeoutError():
                return SourceProblem(CONNECTION_ERROR, f"{place} does not answer.")
            case OSError() | exceptions.AMQPError():
                return SourceProblem(CONNECTION_ERROR, f"{place}: {_said(error)}")
        return SourceProblem(CONNECTION_ERROR, f"{place}: {type(error).__name__}: {error}")


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
