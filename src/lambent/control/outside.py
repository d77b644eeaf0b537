"""What other services know of a function's configuration: its role, code, image, network and file system.

Everything is asked through `ports.Clients`. Without it, and where a service is not built, nothing is known and names
are taken as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from lambent.model.errors import AwsError, invalid_parameter
from lambent.model.limits import UNZIPPED_MAX_BYTES
from lambent.model.request import RequestContext
from lambent.ports import Clients

LAMBDA_PRINCIPAL: Final = "lambda.amazonaws.com"
_UNKNOWN_ROLE: Final = frozenset(("NoSuchEntity", "NoSuchEntityException"))
_IDENTITY: Final = re.compile(
    r"arn:aws[a-z-]*:iam::(?P<account>\d{12}):(?P<kind>user|role)/(?:[^\s]*/)?(?P<name>[^/\s]+)"
)
_NOT_BUILT: Final = frozenset(("NotImplemented", "UnknownOperationException", "InvalidAction"))

# https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html: account, region, repository, tag or digest.
_ECR_IMAGE: Final = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr\.(?P<region>[a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws)/"
    r"(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@attrs.frozen
class ResolvedImage:
    uri: str | None  # by digest; None where no registry could be asked
    sha256: str  # hex; empty where it is not known


TrustOf = Callable[[str], Awaitable[Any]]
"""The trust policy of a role, by its ARN; None for a role that IAM does not know. Raises AwsError."""


@attrs.frozen
class Outside:
    clients: Clients | None = None
    role_check: str = "auto"  # the setting: "always", "never", or "auto": a role that IAM knows must be assumable
    roles_must_exist: bool = False  # with "auto": one that it does not know is refused as well
    trust_of: TrustOf | None = None  # where IAM can be looked into without a request; else `clients` is asked

    async def check_role(self, context: RequestContext, role_arn: str) -> None:
        """Raises AwsError InvalidParameterValueException when Lambda may not take the role."""
        if self.role_check == "never" or (self.clients is None and self.trust_of is None):
            return
        must_exist = self.role_check == "always" or self.roles_must_exist
        if role_arn.split(":")[4] != context.account_id:
            if must_exist:
                raise AwsError("AccessDeniedException", "Cross-account pass role is not allowed.", 403)
            return
        trust_policy = await self._trust(context, role_arn, must_exist)
        if trust_policy is None and not must_exist:
            return
        if not trusts_lambda(trust_policy):
            raise invalid_parameter("The role defined for the function cannot be assumed by Lambda.")

    async def _trust(self, context: RequestContext, role_arn: str, must_exist: bool) -> Any:
        """The role's trust policy; None for a role that nobody knows."""
        if self.trust_of is not None:
            return await self.trust_of(role_arn)
        assert self.clients is not None
        try:
            answer = await self.clients.call(context, "iam", "GetRole", {"RoleName": role_arn.rsplit("/", 1)[-1]})
        except AwsError as error:
            if error.code in _UNKNOWN_ROLE or (error.code in _NOT_BUILT and not must_exist):
                return None
            raise
        role = answer["Role"]
        return role.get("AssumeRolePolicyDocument") if role["Arn"] == role_arn else None

    async def knows(self, context: RequestContext, principal: str) -> bool:
        """Whether the user or role that a policy names exists, where that matters; in any account of this server's.

        Everything else that a policy may name counts as known. Raises AwsError when IAM cannot be asked.
        """
        found = _IDENTITY.fullmatch(principal)
        if found is None or not self.roles_must_exist or self.clients is None:
            return True
        kind = found["kind"].capitalize()
        there = attrs.evolve(context, account_id=found["account"])
        try:
            answer = await self.clients.call(there, "iam", f"Get{kind}", {f"{kind}Name": found["name"]})
        except AwsError as error:
            if error.code in _UNKNOWN_ROLE:
                return False
            if error.code in _NOT_BUILT:
                return True
            raise
        return bool(answer[kind]["Arn"] == principal)

    async def vpc_id(self, context: RequestContext, vpc: Mapping[str, Any] | None) -> str:
        """The VPC of the subnets; empty where there are none, or nobody can be asked.

        Raises AwsError InvalidParameterValueException for subnets and groups that do not exist or do not belong together.
        """
        if not vpc or not vpc.get("SubnetIds") or self.clients is None:
            return ""
        subnets = await self._described(context, "DescribeSubnets", {"SubnetIds": list(vpc["SubnetIds"])})
        groups = await self._described(context, "DescribeSecurityGroups", {"GroupIds": list(vpc["SecurityGroupIds"])})
        if subnets is None or groups is None:
            return ""
        found = {subnet["VpcId"] for subnet in subnets.get("Subnets", ())}
        if len(found) != 1:
            raise invalid_parameter("All subnets must belong to the same VPC.")
        vpc_id: str = found.pop()
        if any(group.get("VpcId") != vpc_id for group in groups.get("SecurityGroups", ())):
            raise invalid_parameter("Security groups and subnets must belong to the same VPC.")
        return vpc_id

    async def _described(
        self, context: RequestContext, operation: str, request: dict[str, Any]
    ) -> dict[str, Any] | None:
        assert self.clients is not None
        try:
            return await self.clients.call(context, "ec2", operation, request)
        except AwsError as error:
            if error.code in _NOT_BUILT:
                return None
            if error.is_server_fault:
                raise
            raise invalid_parameter(
                f"Error occurred while {operation}. EC2 Error Code: {error.code}. EC2 Error Message: {error.message}"
            ) from error

    async def check_file_systems(self, context: RequestContext, configs: Iterable[Mapping[str, Any]] | None) -> None:
        """Raises AwsError InvalidParameterValueException for an access point that does not exist."""
        for config in configs or ():
            arn: str = config["Arn"]
            if self.clients is None or ":elasticfilesystem:" not in arn:
                continue
            try:
                await self.clients.call(
                    context, "efs", "DescribeAccessPoints", {"AccessPointId": arn.rsplit("/", 1)[-1]}
                )
            except AwsError as error:
                if error.is_server_fault and error.code not in _NOT_BUILT:
                    raise
                if error.code not in _NOT_BUILT:
                    raise invalid_parameter(f"EFS file system access point {arn} does not exist.") from error

    async def image(self, context: RequestContext, uri: str) -> ResolvedImage:
        """The image that a URI names. Raises AwsError InvalidParameterValueException for one that is not there."""
        found = _ECR_IMAGE.fullmatch(uri)
        if found is None:
            raise invalid_parameter(f"Source image {uri} is not valid. Provide a valid source image.")
        if found["region"] != context.region:
            raise invalid_parameter(
                f"Source image {uri} is not valid. The image must be in the region of the function, {context.region}."
            )
        digest = found["digest"]
        name = {"imageDigest": digest} if digest else {"imageTag": found["tag"] or "latest"}
        if self.clients is not None:
            request = {"registryId": found["account"], "repositoryName": found["repository"], "imageIds": [name]}
            try:
                answer = await self.clients.call(context, "ecr", "BatchGetImage", request)
            except AwsError as error:
                if error.is_server_fault and error.code not in _NOT_BUILT:
                    raise
                answer = {}
            if answer.get("images"):
                digest = answer["images"][0]["imageId"]["imageDigest"]
            else:
                raise invalid_parameter(f"Source image {uri} does not exist. Provide a valid source image.")
        if not digest:
            return ResolvedImage(None, "")
        return ResolvedImage(f"{uri.partition('/')[0]}/{found['repository']}@{digest}", digest.removeprefix("sha256:"))

    async def object(self, context: RequestContext, bucket: str, key: str, version: str | None) -> bytes:
        """An object of S3, with the caller's rights. Raises AwsError as Lambda words what S3 answered."""
        if self.clients is None:
            raise invalid_parameter("Code from Amazon S3 is not available on this server; use ZipFile.")
        request = {"Bucket": bucket, "Key": key} | ({"VersionId": version} if version else {})
        region = await self._bucket_region(context, bucket)
        if region not in ("", context.region):
            raise _in_other_region(region)
        if await self._size(context, request) > UNZIPPED_MAX_BYTES:  # it would not be smaller unzipped
            raise invalid_parameter(f"Unzipped size must be smaller than {UNZIPPED_MAX_BYTES} bytes")
        try:
            answer = await self.clients.call(context, "s3", "GetObject", request)
        except AwsError as error:
            raise _s3_error(error, bucket, key) from error
        body = answer["Body"]
        return bytes(body if isinstance(body, bytes | bytearray | memoryview) else body.read())

    async def _bucket_region(self, context: RequestContext, bucket: str) -> str:
        """Empty where S3 does not say: stores other than AWS's need not."""
        assert self.clients is not None
        try:
            answer = await self.clients.call(context, "s3", "HeadBucket", {"Bucket": bucket})
        except AwsError:
            return ""
        return str(answer.get("BucketRegion") or "")

    async def _size(self, context: RequestContext, request: Mapping[str, Any]) -> int:
        """In bytes; 0 where S3 does not say. What is wrong with an object is said by GetObject: a HEAD has no words."""
        assert self.clients is not None
        try:
            return int((await self.clients.call(context, "s3", "HeadObject", request)).get("ContentLength", 0))
        except AwsError:
            return 0


def trusts_lambda(document: Any) -> bool:
    """Whether a trust policy lets the service Lambda assume the role. Conditions are not looked at."""
    policy = json.loads(document) if isinstance(document, str) else document or {}
    statements = policy.get("Statement") or []
    matching = [s for s in ([statements] if isinstance(statements, dict) else statements) if _is_for_lambda(s)]
    return bool(matching) and all(statement.get("Effect") == "Allow" for statement in matching)


def _is_for_lambda(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal")
    services = ["*"] if principal == "*" else _listed(principal.get("Service")) if isinstance(principal, dict) else []
    actions = [action.lower() for action in _listed(statement.get("Action"))]
    return bool({LAMBDA_PRINCIPAL, "*"} & set(services)) and bool({"sts:assumerole", "sts:*", "*"} & set(actions))


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _in_other_region(region: str) -> AwsError:
    """https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-deployment.html"""
    return invalid_parameter(
        "Error occurred while GetObject. S3 Error Code: PermanentRedirect. S3 Error Message: "
        f"The bucket is in this region: {region}. Please use this region to retry the request"
    )


def _s3_error(error: AwsError, bucket: str, key: str) -> AwsError:
    if error.is_server_fault:
        return error
    said = f"S3 Error Code: {error.code}. S3 Error Message: {error.message}"
    if error.code == "AccessDenied":
        return AwsError(
            "AccessDeniedException",
            "Your access has been denied by S3, please make sure your request credentials have permission to GetObject "
            f"for {bucket}/{key}. {said}",
            403,
        )
    return invalid_parameter(f"Error occurred while GetObject. {said}")
