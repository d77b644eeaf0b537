"""What keeps a figure from being taken."""

from __future__ import annotations

from lambent.model.errors import LambentError


class NotMeasured(LambentError):
    """The message says why; it is told in the place of the figures, and the other parts go on."""
