"""Every runtime of the model is known: taken, or refused as deprecated."""

from __future__ import annotations

import botocore.session

from lambent.model.runtime_ids import DEPRECATED, NOT_CREATED, SUPPORTED


def test_every_runtime_of_the_model_is_supported_or_deprecated_and_nothing_else_is() -> None:
    model = botocore.session.get_session().get_service_model("lambda")
    assert {*SUPPORTED, *NOT_CREATED, *DEPRECATED} == set(model.shape_for("Runtime").enum)
    assert len(SUPPORTED) + len(NOT_CREATED) + len(DEPRECATED) == len({*SUPPORTED, *NOT_CREATED, *DEPRECATED})
