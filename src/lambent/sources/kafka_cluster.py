"""How a Kafka cluster is connected to by aiokafka, and in which words it is told that it cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from typing import Any, Final

from lambent.sources.brokers import KafkaCluster
from lambent.sources.problem import (
    CONNECTION_ERROR,
    KAFKA_BAD_CERTIFICATE,
    KAFKA_NOT_AUTHORIZED,
    KAFKA_SASL_FAILED,
    KAFKA_SERVER_NOT_TRUSTED,
    KAFKA_SERVER_REFUSED,
    SourceProblem,
)

ANSWER_S: Final = 15.0  # how long anything may take that the cluster has to answer


def connection(cluster: KafkaCluster) -> dict[str, Any]:
    """Arguments of aiokafka's clients. Raises SourceProblem for what is no certificate or no key."""
    members: dict[str, Any] = {"bootstrap_servers": list(cluster.servers)}
    if cluster.is_encrypted:
        members |= {"security_protocol": "SSL", "ssl_context": _ssl_context(cluster)}
    if cluster.sasl_mechanism is not None:
        members |= {
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": cluster.sasl_mechanism,
            "sasl_plain_username": cluster.user,
            "sasl_plain_password": cluster.password,
        }
    return members


@contextlib.asynccontextmanager
async def answered(cluster: KafkaCluster, place: str) -> AsyncIterator[None]:
    """Bounds what is inside, and raises SourceProblem for whatever goes wrong; `place` is what it is about."""
    from aiokafka import errors

    place = f"{place} at {','.join(cluster.servers)}"
    try:
        async with asyncio.timeout(ANSWER_S):
            yield
    except SourceProblem:
        raise
    except (TimeoutError, errors.KafkaConnectionError, errors.KafkaTimeoutError) as error:
        raise await _why(cluster) or problem_of(error, place) from error
    except Exception as error:
        raise problem_of(error, place) from error


async def _why(cluster: KafkaCluster) -> SourceProblem | None:
    """aiokafka tells nobody why it cannot connect; so each server is tried once more, and the first refusal told."""
    from aiokafka.conn import create_conn

    members = connection(cluster)
    for server in members.pop("bootstrap_servers"):
        host, _, port = server.rpartition(":")
        try:
            async with asyncio.timeout(ANSWER_S):
                found = await create_conn(host.strip("[]"), int(port), **members)
            found.close()
        except Exception as error:
            return problem_of(error, server)
    return None


def problem_of(error: Exception, place: str) -> SourceProblem:
    """In AWS's words, as far as it has any."""
    from aiokafka import errors

    said = str(error) or type(error).__name__
    cause = error.__cause__ or error.__context__
    refused = (errors.SaslAuthenticationFailed, errors.AuthenticationFailedError, errors.UnsupportedSaslMechanismError)
    denied = (
        errors.TopicAuthorizationFailedError, errors.GroupAuthorizationFailedError, errors.ClusterAuthorizationFailedError
    )  # fmt: skip
    if isinstance(error, refused):
        return SourceProblem(KAFKA_SASL_FAILED, f"{place}: {said}")
    if isinstance(error, denied):
        return SourceProblem(KAFKA_NOT_AUTHORIZED, f"{place}: {said}")
    if isinstance(error, ssl.SSLCertVerificationError):
        return SourceProblem(KAFKA_SERVER_NOT_TRUSTED, f"{place}: {error.verify_message}")
    if isinstance(error, ssl.SSLError) and "ALERT" in said.upper():
        return SourceProblem(KAFKA_SERVER_REFUSED, f"{place}: {said}")
    if isinstance(error, errors.KafkaConnectionError) and isinstance(cause, ssl.SSLError):
        return problem_of(cause, place)
    if isinstance(error, TimeoutError):
        return SourceProblem(CONNECTION_ERROR, f"{place} does not answer.")
    return SourceProblem(CONNECTION_ERROR, f"{place}: {said}")


def _ssl_context(cluster: KafkaCluster) -> ssl.SSLContext:
    """Raises SourceProblem for what is no certificate or no key."""
    context = ssl.create_default_context()
    try:
        if cluster.root_ca is not None:
            context = ssl.create_default_context(cadata=cluster.root_ca)
        if cluster.certificate is not None:
            _load_certificate(context, cluster)
    except (ssl.SSLError, ValueError) as error:
        raise SourceProblem(KAFKA_BAD_CERTIFICATE, str(error)) from error
    return context


def _load_certificate(context: ssl.SSLContext, cluster: KafkaCluster) -> None:
    """OpenSSL reads it from a file only: from one that is on no disk."""
    file = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(file, f"{cluster.certificate}\n{cluster.private_key}\n".encode())
        context.load_cert_chain(f"/proc/self/fd/{file}", password=cluster.private_key_password)
    finally:
        os.close(file)
