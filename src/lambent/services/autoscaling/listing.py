"""What all Describe operations share: choosing by resource, and pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from lambent.model.errors import AwsError
from lambent.model.request import RequestContext
from lambent.ports import CatalogView
from lambent.services.autoscaling.errors import bad_token, validation
from lambent.services.autoscaling.names import DIMENSION, Members, Target
from lambent.services.events.names import page

T = TypeVar("T")
_Belonging = tuple[Target, str, Members]  # with its own name and its document

PAGE_MAX: Final = 50  # MaxResults of every Describe operation


def check_choice(members: Members) -> None:
    """Raises AwsError ValidationException."""
    most = members.get("MaxResults")
    if most is not None and not 1 <= most <= PAGE_MAX:
        bound = f"less than or equal to {PAGE_MAX}" if most > PAGE_MAX else "greater than or equal to 1"
        raise validation(
            f"1 validation error detected: Value '{most}' at 'maxResults' failed to satisfy constraint: "
            f"Member must have value {bound}"
        )
    named = members.get("ResourceId") or members.get("ResourceIds")
    if members.get("ScalableDimension") and not named:
        raise validation("If you specify a scalable dimension, you must also specify a resource ID.")


def is_chosen(members: Members, resource_id: str) -> bool:
    """By the request's resources and dimension."""
    if (members.get("ScalableDimension") or DIMENSION) != DIMENSION:
        return False
    one, several = members.get("ResourceId"), members.get("ResourceIds")
    return (not one or one == resource_id) and (not several or resource_id in several)


def chosen(view: CatalogView, kind: str, context: RequestContext, members: Members, names: str) -> Iterator[_Belonging]:
    """Policies or scheduled actions of the chosen resources, in order, of which `names` is a member with some names.

    Raises AwsError ValidationException.
    """
    check_choice(members)
    for key, document in view.documents(kind, context.account_id, context.region).items():
        resource_id, _, name = key.partition("/")
        if is_chosen(members, resource_id) and (not members.get(names) or name in members[names]):
            yield Target(context.account_id, context.region, resource_id), name, document


def paged(items: Sequence[T], key: Callable[[T], str], members: Members, name: str) -> Members:
    """The answer with one page of `items`, which are in the order of `key`. Raises AwsError InvalidNextTokenException."""
    try:
        shown, more = page(items, key, members, PAGE_MAX)
    except AwsError as error:
        raise bad_token() from error
    return {name: shown, **more}
