"""A change of code or configuration replaces a function's environments; permissions and tags do not."""

from __future__ import annotations

from live_server import LiveServer

STARTS = "import uuid\nME = str(uuid.uuid4())\ndef handler(event, context):\n    return ME"


def test_permissions_and_tags_leave_the_warm_environment_where_it_is(live: LiveServer) -> None:
    name = live.create(STARTS)
    first = live.invoke(name).value
    client = live.client()
    client.add_permission(
        FunctionName=name, StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com"
    )
    arn = client.get_function_configuration(FunctionName=name)["FunctionArn"]
    client.tag_resource(Resource=arn, Tags={"team": "blue"})
    assert live.invoke(name).value == first


def test_a_change_of_configuration_starts_anew(live: LiveServer) -> None:
    name = live.create(STARTS)
    first = live.invoke(name).value
    live.client().update_function_configuration(FunctionName=name, Description="another")
    live.until_ready(name)
    assert live.invoke(name).value != first
