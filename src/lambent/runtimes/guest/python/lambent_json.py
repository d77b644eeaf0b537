"""Events and responses. AWS's runtime encodes with simplejson; where that differs from the standard library, so do we:

Decimals keep their digits, bytes are UTF-8 text, named tuples (anything with `_asdict`) are objects.
"""

import decimal
import json
import marshal
import math
import os
import sys

from lambent_faults import Fault

_UNESCAPED_SINCE = (3, 12)  # before, everything beyond ASCII was written as \uXXXX


class _Encoder(json.JSONEncoder):
    def __init__(self):
        super().__init__(ensure_ascii=not _writes_unicode(), allow_nan=True)
        self._mark = None
        self._under_way = {}  # the containers that are being written, so that circles are found
        # What `JSONEncoder.encode` makes anew for every call.
        self._write = json.encoder.c_make_encoder and json.encoder.c_make_encoder(
            self._under_way,
            self.default,
            json.encoder.encode_basestring_ascii if self.ensure_ascii else json.encoder.encode_basestring,
            None,
            self.key_separator,
            self.item_separator,
            False,
            False,
            True,
        )

    def default(self, o):
        if isinstance(o, decimal.Decimal):
            return math.nan if o.is_nan() else self._marked(str(o))
        if isinstance(o, bytes):
            return str(o, "utf-8")
        as_dict = getattr(o, "_asdict", None)
        if callable(as_dict):
            return as_dict()
        return super().default(o)

    def encode(self, o):
        o = _without_named_tuples(o)
        try:
            text = self._text(o)
        except TypeError:  # perhaps a key, which the standard library judges otherwise
            rebuilt = _rebuilt(o)
            if rebuilt == o:
                raise
            text = self._text(rebuilt)
        return text if self._mark is None else self._unmark(text)

    def _text(self, o):
        if self._write is None or isinstance(o, str):
            return super().encode(o)
        try:
            return "".join(self._write(o, 0))
        except BaseException:
            self._under_way.clear()
            raise

    def _marked(self, digits):
        # The encoder cannot be made to write a bare number, so it writes a string with a mark that nobody can guess.
        if self._mark is None:
            self._mark = "decimal-" + os.urandom(16).hex() + "-"
        return self._mark + digits

    def _unmark(self, text):
        first, *rest = text.split('"' + self._mark)
        return first + "".join(part.replace('"', "", 1) for part in rest)


def _writes_unicode():
    """`AWS_Lambda_python3.13` says which of AWS's runtimes is being run; without it, the interpreter's version does."""
    name = os.environ.get("AWS_EXECUTION_ENV", "")
    if name.startswith("AWS_Lambda_python3."):
        minor = name[len("AWS_Lambda_python3.") :]
        return minor.isdigit() and (3, int(minor)) >= _UNESCAPED_SINCE
    return sys.version_info >= _UNESCAPED_SINCE


def _without_named_tuples(value):
    """The value, rebuilt when it may hold what the encoder would take for a plain tuple."""
    try:
        marshal.dumps(value, 2)  # takes exact built-in types only, and takes them ten times as fast as a walk would
    except (ValueError, TypeError, RecursionError):
        pass
    else:
        return value
    try:
        return _rebuilt(value)
    except RecursionError:
        return value  # circular or too deep: the encoder says which


def _rebuilt(value):
    if isinstance(value, dict):
        return {_key(key): _rebuilt(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        as_dict = getattr(value, "_asdict", None)
        if callable(as_dict):
            return _rebuilt(as_dict())
        return [_rebuilt(item) for item in value]
    return value


def _key(key):
    if isinstance(key, bytes):
        return str(key, "utf-8")
    if key is None or isinstance(key, (str, int, float)):
        return key
    raise TypeError(f"keys must be str, int, float, bool or None, not {type(key).__name__}")


class Marshaller:
    def __init__(self):
        self.encoder = _Encoder()

    def decode_event(self, body):
        try:
            return json.loads(str(body, "utf-8"))
        except Exception as error:
            raise Fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}") from None

    def encode_response(self, response):
        """(body, content type). Bytes pass unchanged."""
        if isinstance(response, bytes):
            return response, b"application/unknown"
        try:
            return self.encoder.encode(response).encode(), b"application/json"
        except Exception as error:
            raise Fault("Runtime.MarshalError", f"Unable to marshal response: {error}") from None

    def encode_error(self, result):
        return self.encoder.encode(result).encode("utf-8", "replace")
