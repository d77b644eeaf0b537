"""What the log store finds wrong, in CloudWatch Logs' words."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from lambent.model.errors import AwsError
from lambent.services.logs import model
from lambent.store.logs import LogGroupExists, LogGroupMissing, LogStreamExists, LogStreamMissing


@contextlib.contextmanager
def in_the_words_of_aws() -> Iterator[None]:
    """Raises AwsError."""
    try:
        yield
    except LogGroupMissing as error:
        raise model.group_not_found() from error
    except LogGroupExists as error:
        raise model.group_exists() from error
    except LogStreamMissing as error:
        raise model.stream_not_found() from error
    except LogStreamExists as error:
        raise model.stream_exists() from error
    except sqlite3.Error as error:
        raise AwsError("ServiceUnavailableException", "The service cannot complete the request.", 500) from error
