"""Revision ids of what a qualifier names, and what belongs to a function's qualifiers.

At AWS a policy has no revision of its own: it shares that of the version or alias that it is attached to, and whoever
changes a policy or a tag changes that revision. The function's description and code stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from lambent.control.tools import function_not_found, need_latest, new_revision
from lambent.model.errors import AwsError, not_found
from lambent.model.function import LATEST, FunctionSettings
from lambent.model.names import FunctionAddress, is_alias_name, is_version
from lambent.ports import PROVISIONED_INDEX, CatalogTransaction, CatalogView

URL_INDEX: Final = "function-url"  # kind of document: from a function URL's id to its function

QUALIFIED_FAMILIES: Final = ("policy", "urls", "runtime-management", "event-invoke", "provisioned")
"""Members of `FunctionSettings.extra` that are mappings from a qualifier; the unqualified function's key is ""."""


def key_of(qualifier: str | None) -> str:
    """A qualifier as the key of a family's mapping."""
    return "" if qualifier in (None, LATEST) else str(qualifier)


def revision_of(view: CatalogView, address: FunctionAddress) -> str:
    """The revision id of `$LATEST`, the version or the alias that the address names.

    Raises AwsError ResourceNotFoundException, with AWS's words for each of them.
    """
    latest = need_latest(view, attrs.evolve(address, qualifier=None))
    qualifier = key_of(address.qualifier)
    if not qualifier:
        return latest.revision_id
    if is_version(qualifier):
        version = view.version(address, int(qualifier))
        if version is None:
            raise function_not_found(address)
        return version.revision_id
    if not is_alias_name(qualifier):
        raise function_not_found(address)
    alias = view.alias(address, qualifier)
    if alias is None:
        raise alias_not_found(address)
    return alias.revision_id


def renew_revision(tx: CatalogTransaction, address: FunctionAddress) -> str:
    """Gives what the address names, which has to exist, a new revision id, and returns it."""
    revision_id = new_revision()
    qualifier = key_of(address.qualifier)
    if not qualifier:
        latest = need_latest(tx, address)
        tx.put_latest(attrs.evolve(latest, revision_id=revision_id), serving=tx.serving(address))
    elif is_version(qualifier):
        version = tx.version(address, int(qualifier))
        assert version is not None, address
        tx.put_version(attrs.evolve(version, revision_id=revision_id))
    else:
        alias = tx.alias(address, qualifier)
        assert alias is not None, address
        tx.put_alias(attrs.evolve(alias, revision_id=revision_id))
    return revision_id


def alias_not_found(address: FunctionAddress) -> AwsError:
    return not_found(f"Cannot find alias arn: {address.qualified_arn}")


def family(settings: FunctionSettings, name: str) -> dict[str, Any]:
    """One family's mapping, as a copy that may be changed."""
    return dict(settings.extra.get(name) or {})


def with_family(settings: FunctionSettings, name: str, content: Mapping[str, Any]) -> FunctionSettings:
    """The settings with another content of one family, or without it where that is empty."""
    extra = {key: value for key, value in settings.extra.items() if key != name}
    if content:
        extra[name] = dict(content)
    return attrs.evolve(settings, extra=extra)


def forget_qualifier(tx: CatalogTransaction, address: FunctionAddress, qualifier: str) -> None:
    """What belongs to a version or an alias goes with it: its policy, function URL, destinations."""
    settings = tx.settings(address)
    if settings is None:
        return
    changed = settings
    for name in QUALIFIED_FAMILIES:
        content = family(changed, name)
        if (gone := content.pop(qualifier, None)) is not None:
            changed = with_family(changed, name, content)
            if name == "urls":
                tx.delete_document(URL_INDEX, address.account_id, address.region, gone["UrlId"])
    if changed is not settings:
        tx.put_settings(address, changed)


def forget_function(tx: CatalogTransaction, address: FunctionAddress) -> None:
    """What is kept outside a function's settings and is of no use without it."""
    tx.delete_document(PROVISIONED_INDEX, *address.key)
    settings = tx.settings(address)
    for url in family(settings, "urls").values() if settings is not None else ():
        tx.delete_document(URL_INDEX, address.account_id, address.region, url["UrlId"])
