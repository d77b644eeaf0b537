"""The `context` that a handler is given. Names, values and repr are those of AWS's Python runtime."""

import logging
import os
import sys
import time

_W3C_FIELDS = ("traceparent", "tracestate", "baggage")
# What a context shows of the environment. The function may change it at any time.
_VARIABLES = (
    b"AWS_LAMBDA_LOG_GROUP_NAME",
    b"AWS_LAMBDA_LOG_STREAM_NAME",
    b"AWS_LAMBDA_FUNCTION_NAME",
    b"AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    b"AWS_LAMBDA_FUNCTION_VERSION",
)
_decoded = ([None] * len(_VARIABLES), [None] * len(_VARIABLES))  # as they were last, and their text


class _Record:
    """An object with fixed attributes, filled from a dict; what is absent is None."""

    __slots__ = ()

    @classmethod
    def of(cls, values):
        if values is None:
            return None
        record = cls()
        for name in cls.__slots__:
            setattr(record, name, values.get(name))
        return record

    def __repr__(self):
        fields = ",".join(f"{name}={getattr(self, name)}" for name in self.__slots__)
        return f"{type(self).__name__}([{fields}])"


class CognitoIdentity(_Record):
    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")


class Client(_Record):
    __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")


class ClientContext(_Record):
    __slots__ = ("custom", "env", "client")


class LambdaContext:
    def __init__(self, request_id, client_context, cognito_identity, deadline_ms, function_arn, tenant_id):
        self.aws_request_id = request_id
        (
            self.log_group_name,
            self.log_stream_name,
            self.function_name,
            self.memory_limit_in_mb,
            self.function_version,
        ) = _variables()
        self.invoked_function_arn = function_arn
        self.tenant_id = tenant_id
        self._w3c = {}
        self.client_context = None
        if client_context is not None:
            self._w3c = _take_w3c(client_context)
            self.client_context = ClientContext.of(client_context)
            self.client_context.client = Client.of(self.client_context.client)
        self.identity = identity = CognitoIdentity()
        identity.cognito_identity_id = identity.cognito_identity_pool_id = None
        if cognito_identity is not None:
            self.identity.cognito_identity_id = cognito_identity.get("cognitoIdentityId")
            self.identity.cognito_identity_pool_id = cognito_identity.get("cognitoIdentityPoolId")
        self._deadline_ms = deadline_ms

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline_ms - int(time.time() * 1000))

    def w3c(self):
        """The W3C trace context that came with the invocation: traceparent, tracestate, baggage."""
        return dict(self._w3c)

    def log(self, msg):
        for handler in logging.getLogger().handlers:
            if hasattr(handler, "log_sink"):
                handler.log_sink.log(str(msg))
                return
        sys.stdout.write(str(msg))

    def __repr__(self):
        shown = (
            "aws_request_id",
            "log_group_name",
            "log_stream_name",
            "function_name",
            "memory_limit_in_mb",
            "function_version",
            "invoked_function_arn",
            "client_context",
            "identity",
            "tenant_id",
        )
        return "LambdaContext([{}])".format(",".join(f"{name}={getattr(self, name)}" for name in shown))


def _variables():
    global _decoded
    # What os.environ stands on: it would encode and decode on every look.
    values = list(map(os.environ._data.get, _VARIABLES))
    if values != _decoded[0]:
        _decoded = (values, [None if value is None else os.fsdecode(value) for value in values])
    return _decoded[1]


def _take_w3c(client_context):
    """The trace context travels inside the client context, where handlers do not see it."""
    if not isinstance(client_context, dict):
        return {}
    fields = client_context.pop("w3c", None)
    if not isinstance(fields, dict):
        return {}
    return {name: fields[name] for name in _W3C_FIELDS if isinstance(fields.get(name), str)}
