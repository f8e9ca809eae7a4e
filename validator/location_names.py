"""The providers' own rules for names, each as a rule that can be quoted and a test of it. Pure.

Sources: Microsoft's "Naming and referencing containers, blobs, and metadata", "Storage account overview" and "Naming
rules for Azure resources"; Amazon's "General purpose bucket naming rules"; Google's "Cloud Storage bucket names".
"""

from __future__ import annotations

import ipaddress
import re

ACCOUNT_RULE = "Azure storage account names are 3 to 24 characters: lower-case letters and digits, nothing else"
CONTAINER_RULE = (
    "Azure container names are 3 to 63 characters: lower-case letters, digits and single dashes, with a letter or "
    "digit first and last"
)
RESOURCE_GROUP_RULE = (
    "Azure resource group names are 1 to 90 characters: letters, digits, underscores, parentheses, dashes and periods, "
    "without a period at the end"
)
SUBSCRIPTION_RULE = "an Azure subscription id is a UUID such as 12345678-1234-1234-1234-123456789abc"
S3_RULE = (
    "S3 bucket names are 3 to 63 characters: lower-case letters, digits, dashes and periods, with a letter or digit "
    "first and last, no two periods side by side, and not formed like an IP address"
)
GCS_RULE = (
    "Cloud Storage bucket names are 3 to 63 characters (222 with periods, 63 between them): lower-case letters, "
    "digits, dashes, underscores and periods, with a letter or digit first and last, and not formed like an IP address"
)

_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_CONTAINER = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(-[a-z0-9]+)*")
_RESOURCE_GROUP = re.compile(r"[\w().-]{0,89}[\w()-]")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_S3 = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_S3_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_S3_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
_GCS = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")


def account_problem(name: str) -> str | None:
    """What is wrong with a storage account's name, with the rule; None if it is right."""
    if _ACCOUNT.fullmatch(name):
        return None
    if _ACCOUNT.fullmatch(name.lower()):
        return f"{ACCOUNT_RULE}. Write it in lower case: {name.lower()}"
    if "." in name:
        return f"{ACCOUNT_RULE}. Give the account's name alone, without the host name around it"
    return ACCOUNT_RULE


def container_problem(name: str) -> str | None:
    """What is wrong with an Azure container's name."""
    if _CONTAINER.fullmatch(name):
        return None
    return slash_problem(name) or _lower_case(name, _CONTAINER, CONTAINER_RULE)


def resource_group_problem(name: str) -> str | None:
    """What is wrong with a resource group's name."""
    return None if _RESOURCE_GROUP.fullmatch(name) else RESOURCE_GROUP_RULE


def subscription_problem(text: str) -> str | None:
    """What is wrong with a subscription id."""
    return None if _UUID.fullmatch(text) else f"{SUBSCRIPTION_RULE} (its name does not do)"


def s3_problem(name: str) -> str | None:
    """What is wrong with an S3 bucket's name."""
    if (problem := slash_problem(name)) is not None:
        return problem
    if name.startswith(_S3_PREFIXES):
        return f"S3 bucket names don't begin with {', '.join(_S3_PREFIXES)}"
    if name.endswith(_S3_SUFFIXES):
        return f"S3 bucket names don't end with {', '.join(_S3_SUFFIXES)} (aliases and directory buckets do)"
    if _S3.fullmatch(name) and ".." not in name and not _is_ip(name):
        return None
    return _lower_case(name, _S3, S3_RULE)


def gcs_problem(name: str) -> str | None:
    """What is wrong with a Cloud Storage bucket's name."""
    if (problem := slash_problem(name)) is not None:
        return problem
    if name.startswith("goog") or "google" in name or "g00gle" in name:
        return "Cloud Storage bucket names don't begin with goog and don't contain google, or anything like it"
    parts = name.split(".")
    if _GCS.fullmatch(name) and all(1 <= len(part) <= 63 for part in parts) and not _is_ip(name):
        return None
    return _lower_case(name, _GCS, GCS_RULE)


def slash_problem(name: str) -> str | None:
    """The commonest mistake: a path or URL instead of a name."""
    if "/" in name or "\\" in name:
        return (
            "the container's or bucket's name alone: no slash, no prefix, no URL; a prefix is the product's to choose"
        )
    return None


def _lower_case(name: str, pattern: re.Pattern[str], rule: str) -> str:
    return f"{rule}. Write it in lower case: {name.lower()}" if pattern.fullmatch(name.lower()) else rule


def _is_ip(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return re.fullmatch(r"\d+(\.\d+){3}", name) is not None
    return True
