"""Versions never change, aliases point, layers are shared."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from control_harness import ACCOUNT, REGION, Control, zipped
from lambent.model.errors import AwsError

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
LAYER = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:pillow"


async def refused(control: Control, operation: str, code: str, message: str | None = None, **members: Any) -> None:
    with pytest.raises(AwsError) as raised:
        await control(operation, **members)
    assert raised.value.code == code
    if message is not None:
        assert raised.value.message == message


async def publish(control: Control, **members: Any) -> str:
    version: str = (await control("PublishVersion", FunctionName="f", **members))["Version"]
    return version


async def update(control: Control, text: str) -> None:
    await control("UpdateFunctionCode", FunctionName="f", ZipFile=zipped(app=text))
    await control.settled()


async def test_publishing_freezes_code_and_configuration(control: Control) -> None:
    await control.create(Description="first")
    published = await control("PublishVersion", FunctionName="f", Description="as published")
    assert (published["Version"], published["FunctionArn"]) == ("1", f"{ARN}:1")
    assert (published["Description"], published["State"]) == ("as published", "Active")
    await update(control, "2")
    await control("UpdateFunctionConfiguration", FunctionName="f", Timeout=99)
    await control.settled()
    frozen = await control("GetFunctionConfiguration", FunctionName="f", Qualifier="1")
    assert frozen["CodeSha256"] == published["CodeSha256"]
    assert (frozen["Timeout"], frozen["RevisionId"]) == (3, published["RevisionId"])


async def test_nothing_new_is_published_when_nothing_has_changed(control: Control) -> None:
    await control.create()
    assert await publish(control) == "1"
    assert await publish(control, Description="other words") == "1"
    await update(control, "1")
    assert await publish(control) == "1"
    await update(control, "2")
    assert await publish(control) == "2"
    await control("UpdateFunctionConfiguration", FunctionName="f", Description="changed")
    await control.settled()
    assert await publish(control) == "3"


async def test_concurrent_publishes_of_one_change_give_one_version(control: Control) -> None:
    await control.create()
    assert set(await asyncio.gather(*(publish(control) for _ in range(10)))) == {"1"}


async def test_publishing_can_insist_on_the_code(control: Control) -> None:
    created = await control.create()
    assert await publish(control, CodeSha256=created["CodeSha256"]) == "1"
    await refused(
        control, "PublishVersion", "InvalidParameterValueException",
        f"CodeSHA256 (abc) is different from current CodeSHA256 in $LATEST ({created['CodeSha256']}). "
        "Please try again with the CodeSHA256 in $LATEST.",
        FunctionName="f", CodeSha256="abc",
    )  # fmt: skip


async def test_code_can_be_updated_and_published_in_one_step(control: Control) -> None:
    await control.create(Publish=True)
    answer = await control("UpdateFunctionCode", FunctionName="f", ZipFile=zipped(app="2"), Publish=True)
    assert (answer["Version"], answer["State"]) == ("2", "Pending")
    await control.settled()
    answer = await control("GetFunctionConfiguration", FunctionName="f", Qualifier="2")
    assert (answer["State"], answer["LastUpdateStatus"]) == ("Active", "Successful")


async def test_versions_are_listed_by_number_after_latest(control: Control) -> None:
    await control.create()
    for n in range(12):
        await update(control, str(n + 2))
        await publish(control)
    page: dict[str, Any] = await control("ListVersionsByFunction", FunctionName="f", MaxItems=10)
    seen = [v["FunctionArn"] for v in page["Versions"]]
    page = await control("ListVersionsByFunction", FunctionName="f", Marker=page["NextMarker"])
    seen += [v["FunctionArn"] for v in page["Versions"]]
    assert seen == [f"{ARN}:{v}" for v in ("$LATEST", *range(1, 13))]


async def test_an_alias_is_made_moved_and_removed(control: Control) -> None:
    await control.create(Publish=True)
    made = await control("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1", Description="traffic")
    assert made == {
        "AliasArn": f"{ARN}:live", "Name": "live", "FunctionVersion": "1", "Description": "traffic",
        "RevisionId": made["RevisionId"],
    }  # fmt: skip
    await refused(
        control, "CreateAlias", "ResourceConflictException", f"Alias already exists: {ARN}:live",
        FunctionName="f", Name="live", FunctionVersion="1",
    )  # fmt: skip
    await refused(
        control, "UpdateAlias", "PreconditionFailedException", FunctionName="f", Name="live", RevisionId="stale"
    )
    moved = await control("UpdateAlias", FunctionName="f", Name="live", FunctionVersion="$LATEST")
    assert (moved["FunctionVersion"], moved["Description"]) == ("$LATEST", "traffic")
    assert moved["RevisionId"] != made["RevisionId"]
    assert (await control("ListAliases", FunctionName="f", FunctionVersion="1"))["Aliases"] == []
    assert (await control("ListAliases", FunctionName="f"))["Aliases"] == [moved]
    assert await control("GetAlias", FunctionName="f", Name="live") == moved
    await control("DeleteAlias", FunctionName="f", Name="live")
    await control("DeleteAlias", FunctionName="f", Name="live")
    await refused(
        control, "GetAlias", "ResourceNotFoundException", f"Cannot find alias arn: {ARN}:live",
        FunctionName="f", Name="live",
    )  # fmt: skip


async def test_an_alias_points_only_at_versions_that_exist(control: Control) -> None:
    await control.create()
    await refused(
        control, "CreateAlias", "ResourceNotFoundException", f"Function not found: {ARN}:9",
        FunctionName="f", Name="live", FunctionVersion="9",
    )  # fmt: skip
    await refused(control, "CreateAlias", "ValidationException", FunctionName="f", Name="12", FunctionVersion="$LATEST")


@pytest.mark.parametrize(
    ("version", "weights", "code", "message"),
    [
        ("1", {"2": 0.1, "3": 0.1}, "InvalidParameterValueException",
         "Number of items in AdditionalVersionWeights cannot be greater than 1"),
        ("1", {"1": 0.1}, "InvalidParameterValueException",
         "Invalid function version 1. Function version 1 is already included in routing configuration."),
        ("$LATEST", {"1": 0.1}, "InvalidParameterValueException",
         "$LATEST is not supported for an alias pointing to more than 1 version"),
        ("1", {"2": 1.5}, "ValidationException", None),
        ("1", {"$LATEST": 0.5}, "ValidationException", None),
        ("1", {"9": 0.5}, "ResourceNotFoundException", f"Function not found: {ARN}:9"),
    ],
)  # fmt: skip
async def test_weights_that_make_no_sense_are_refused(
    control: Control, version: str, weights: dict[str, float], code: str, message: str | None
) -> None:
    await control.create(Publish=True)
    await refused(
        control, "CreateAlias", code, message,
        FunctionName="f", Name="live", FunctionVersion=version, RoutingConfig={"AdditionalVersionWeights": weights},
    )  # fmt: skip


async def test_an_alias_with_weights_shares_out_invocations(control: Control) -> None:
    await control.create(Publish=True)
    await update(control, "2")
    await publish(control)
    await control(
        "CreateAlias", FunctionName="f", Name="live", FunctionVersion="1",
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.25}},
    )  # fmt: skip
    drawn = [control.catalog.resolve(ACCOUNT, REGION, "f", "live", n / 100).version for n in range(100)]
    assert (drawn.count("1"), drawn.count("2")) == (75, 25)
    await refused(
        control, "DeleteFunction", "ResourceConflictException",
        "Unable to delete version because the following aliases reference it: [live]", FunctionName="f", Qualifier="2",
    )  # fmt: skip
    cleared = await control(
        "UpdateAlias", FunctionName="f", Name="live", RoutingConfig={"AdditionalVersionWeights": {}}
    )
    assert "RoutingConfig" not in cleared
    with pytest.raises(AwsError, match=f"Function not found: {ARN}:other"):
        control.catalog.resolve(ACCOUNT, REGION, "f", "other", 0.5)


async def test_a_layer_is_published_listed_read_and_deleted(control: Control) -> None:
    code = zipped(python__lib="1")
    first = await control(
        "PublishLayerVersion", LayerName="pillow", Content={"ZipFile": code}, Description="images",
        CompatibleRuntimes=["python3.13"], CompatibleArchitectures=["x86_64"], LicenseInfo="MIT",
    )  # fmt: skip
    assert (first["LayerArn"], first["LayerVersionArn"], first["Version"]) == (LAYER, f"{LAYER}:1", 1)
    assert await control.service.download(first["Content"]["Location"].rsplit("/", 1)[1]) == code
    await control("PublishLayerVersion", LayerName=LAYER, Content={"ZipFile": zipped(python__lib="2")})
    listed = (await control("ListLayerVersions", LayerName="pillow"))["LayerVersions"]
    assert [v["Version"] for v in listed] == [2, 1]
    page: dict[str, Any] = await control("ListLayerVersions", LayerName="pillow", MaxItems=1)
    page = await control("ListLayerVersions", LayerName="pillow", MaxItems=1, Marker=page["NextMarker"])
    assert [v["Version"] for v in page["LayerVersions"]] == [1]
    (layer,) = (await control("ListLayers", CompatibleRuntime="python3.13"))["Layers"]
    assert layer["LatestMatchingVersion"]["Version"] == 1
    got = await control("GetLayerVersion", LayerName="pillow", VersionNumber=1)
    assert got["CompatibleRuntimes"] == ["python3.13"]
    by_arn = await control("GetLayerVersionByArn", Arn=f"{LAYER}:1")
    assert by_arn["Content"]["CodeSha256"] == got["Content"]["CodeSha256"]
    await control("DeleteLayerVersion", LayerName="pillow", VersionNumber=2)
    await refused(
        control, "GetLayerVersion", "ResourceNotFoundException", "The resource you requested does not exist.",
        LayerName="pillow", VersionNumber=2,
    )  # fmt: skip
    await refused(control, "GetLayerVersion", "InvalidParameterValueException", LayerName="pillow", VersionNumber=0)
    third = await control("PublishLayerVersion", LayerName="pillow", Content={"ZipFile": code})
    assert third["Version"] == 3


async def test_numbers_that_no_version_can_have_do_not_exist(control: Control) -> None:
    await control.create()
    huge = "9" * 120
    await refused(control, "GetFunction", "ResourceNotFoundException", f"Function not found: {ARN}:{huge}",
                  FunctionName="f", Qualifier=huge)  # fmt: skip
    await refused(control, "CreateAlias", "ResourceNotFoundException", f"Function not found: {ARN}:{huge}",
                  FunctionName="f", Name="live", FunctionVersion=huge)  # fmt: skip
    await refused(control, "DeleteLayerVersion", "ResourceNotFoundException", LayerName="l", VersionNumber=int(huge))


async def test_a_function_keeps_a_layer_that_was_deleted(control: Control) -> None:
    await control("PublishLayerVersion", LayerName="pillow", Content={"ZipFile": zipped(python__lib="1")})
    created = await control.create(Layers=[f"{LAYER}:1"])
    assert [layer["Arn"] for layer in created["Layers"]] == [f"{LAYER}:1"]
    await control("DeleteLayerVersion", LayerName="pillow", VersionNumber=1)
    version = control.catalog.resolve(ACCOUNT, REGION, "f", None, 0.0)
    assert await control.catalog.referenced_digests() == {version.code_digest, version.layers[0].digest}
    opt = await control.blobs.merged_layers([layer.digest for layer in version.layers])
    assert opt is not None
    assert (opt / "python" / "lib").read_text() == "1"
    await refused(control, "UpdateFunctionConfiguration", "InvalidParameterValueException",
                  f"Layer version {LAYER}:1 does not exist.", FunctionName="f", Layers=[f"{LAYER}:1"])  # fmt: skip
    await control("UpdateFunctionConfiguration", FunctionName="f", Layers=[])
    await control.settled()
    assert "Layers" not in await control("GetFunctionConfiguration", FunctionName="f")


async def test_two_versions_of_one_layer_are_refused(control: Control) -> None:
    for text in ("1", "2"):
        await control("PublishLayerVersion", LayerName="pillow", Content={"ZipFile": zipped(lib=text)})
    with pytest.raises(AwsError) as raised:
        await control.create(Layers=[f"{LAYER}:1", f"{LAYER}:2"])
    assert raised.value.message == (
        "Two different versions of the same layer are not allowed to be referenced in the same function. "
        f"{LAYER}:1 and {LAYER}:2 are versions of the same layer."
    )


async def test_an_alias_of_a_function_that_is_not_there_names_the_version_that_was_asked_for(control: Control) -> None:
    with pytest.raises(AwsError) as raised:
        await control("CreateAlias", FunctionName="none", Name="live", FunctionVersion="1")
    assert raised.value.code == "ResourceNotFoundException"
    assert raised.value.message == f"Function not found: arn:aws:lambda:{REGION}:{ACCOUNT}:function:none:1"


async def test_publishing_changes_the_revision_of_what_was_published_and_once_only(control: Control) -> None:
    await control.create()
    before = await control("GetFunctionConfiguration", FunctionName="f")
    published = await control("PublishVersion", FunctionName="f", RevisionId=before["RevisionId"])
    after = await control("GetFunctionConfiguration", FunctionName="f")
    assert len({before["RevisionId"], published["RevisionId"], after["RevisionId"]}) == 3
    with pytest.raises(AwsError, match="PreconditionFailedException"):
        await control("PublishVersion", FunctionName="f", RevisionId=before["RevisionId"])
    again = await control("PublishVersion", FunctionName="f", RevisionId=after["RevisionId"])
    assert (again["Version"], again["RevisionId"]) == ("1", published["RevisionId"])
    assert (await control("GetFunctionConfiguration", FunctionName="f"))["RevisionId"] == after["RevisionId"]
