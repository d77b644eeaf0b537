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
LONG_CHARACTERS = 512  # of a string, from which on it is quicker to look whether anything in it is to be escaped
FEW_MEMBERS = 64  # so many are looked through for long strings
LARGE_EVENT_BYTES = 64 * 1024  # one of so many may have strings that are worth taking out
TAKEN_BYTES = 8 * 1024  # the least that is taken out

_PLAIN = frozenset((str, int, float, bool, type(None)))
_scan = json.decoder.JSONDecoder().scan_once
_STAND_IN = b"-Infinity"  # no JSON; Python's scanner knows it, and asks what it means
_AFTER_STRING = b",:]}"  # seldom begins one
# Turns what must not stand in a string as it is, and DEL, which is escaped with everything beyond ASCII, to something else.
_WITHOUT_SPECIAL = bytes(code ^ 0x80 if code < 0x20 or code in b'"\\\x7f' else code for code in range(256))


class _Encoder(json.JSONEncoder):
    def __init__(self):
        super().__init__(ensure_ascii=not _writes_unicode(), allow_nan=True)
        self.plain = {}  # strings by their id in which nothing is to be escaped, but perhaps DEL and what is beyond ASCII
        self._mark = None
        self._under_way = {}  # the containers that are being written, so that circles are found
        self._quote = json.encoder.encode_basestring_ascii if self.ensure_ascii else json.encoder.encode_basestring
        # What `JSONEncoder.encode` makes anew for every call.
        self._write = json.encoder.c_make_encoder and json.encoder.c_make_encoder(
            self._under_way,
            self.default,
            self._quote,
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

    def encode_utf8(self, o):
        """`encode`, as bytes. Long strings are most of a large response; mostly nothing in them has to be escaped."""
        text = self._unescaped(o)
        if text is not None:
            return b'"%b"' % text
        if type(o) is dict and len(o) <= FEW_MEMBERS:
            for value in o.values():
                if type(value) is str and len(value) >= LONG_CHARACTERS:
                    return self._by_members(o) or self.encode(o).encode()
        return self.encode(o).encode()

    def _by_members(self, o):
        """None when a name is no text, and for what is no UTF-8: the error tells where in the whole that is."""
        pieces = []
        for name, value in o.items():
            if type(name) is not str:
                return None
            begin = (", " if pieces else "{") + self._quote(name) + ": "
            text = self._unescaped(value)
            try:
                if text is None:
                    pieces.append((begin + self.encode(value)).encode())
                else:
                    pieces += (begin + '"').encode(), text, b'"'
            except UnicodeEncodeError:
                return None
        pieces.append(b"}")
        return b"".join(pieces)

    def _unescaped(self, value):
        """The bytes of a long string in which nothing has to be escaped; None for anything else."""
        if type(value) is not str or len(value) < LONG_CHARACTERS or (self.ensure_ascii and not value.isascii()):
            return None
        try:
            data = value.encode()
        except UnicodeEncodeError:
            return None
        if self.plain.get(id(value)) is value:
            return data if not self.ensure_ascii or b"\x7f" not in data else None
        return data if data.translate(_WITHOUT_SPECIAL) == data else None

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
    if type(value) in _PLAIN or (type(value) is dict and _PLAIN.issuperset(map(type, value.values()))):
        return value
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
            if len(body) >= LARGE_EVENT_BYTES:
                found = _with_long_strings(body)
                if found is not None:
                    event, self.encoder.plain = found
                    return event
            text = str(body, "utf-8")
            try:
                event, end = _scan(text, 0)
            except StopIteration:  # it begins with something else than a value, say with a space
                return json.loads(text)
            return event if end == len(text) else json.loads(text)
        except Exception as error:
            raise Fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}") from None

    def encode_response(self, response):
        """(body, content type). Bytes pass unchanged."""
        try:
            if isinstance(response, bytes):
                return response, b"application/unknown"
            return self.encoder.encode_utf8(response), b"application/json"
        except Exception as error:
            raise Fault("Runtime.MarshalError", f"Unable to marshal response: {error}") from None
        finally:
            self.encoder.plain = {}

    def encode_error(self, result):
        self.encoder.plain = {}
        return self.encoder.encode(result).encode("utf-8", "replace")


def _with_long_strings(body):
    """(the event, its long strings by their id); None when it has none, or is not to be had in this way.

    Lambent has seen that it is JSON. So a long string without a backslash is what is between its quotes, which are found a hundred times as
    fast as the scanner looks at each character. A number stands in for it, and is to be asked for as often as it was put in: it is not
    where what was taken for the inside of a string is between two.
    """
    places = _long_strings(body)
    if not places:
        return None
    view = memoryview(body)
    pieces, rest = [], 0
    for begin, end in places:
        pieces += view[rest : begin - 1], _STAND_IN
        rest = end + 1
    pieces.append(view[rest:])
    rest = b"".join(pieces)
    if rest.count(_STAND_IN) != len(places):
        return None
    try:
        strings = [str(view[begin:end], "utf-8") for begin, end in places]
        left = iter(strings)
        decoder = json.JSONDecoder(parse_constant=lambda name: next(left) if name == "-Infinity" else float(name))
        event = decoder.decode(str(rest, "utf-8"))
    except (ValueError, RecursionError):
        return None
    return (event, {id(string): string for string in strings}) if next(left, None) is None else None


def _long_strings(body):
    """Where they begin and end, inside their quotes. Of those that are not much longer than the least, some are missed."""
    places, rest = [], 0
    end = body.find(b'"', TAKEN_BYTES)
    while end >= 0:
        begin = body.rfind(b'"', rest, end) + 1
        is_long = begin > rest and end - begin >= TAKEN_BYTES and body[begin] not in _AFTER_STRING
        if is_long and body.find(b"\\", begin, end) < 0:
            places.append((begin, end))
            rest = end + 1
        end = body.find(b'"', end + TAKEN_BYTES)
    return places
