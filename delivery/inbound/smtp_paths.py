"""The arguments of MAIL and RCPT: a path and parameters.

Source: RFC 5321 4.1.1.2, 4.1.1.3, 4.1.2; RFC 1870 (SIZE); RFC 6152 (8BITMIME); RFC 6531 (SMTPUTF8).
"""

import re
from typing import Literal

from django.conf import settings

from mailbot.lib.addresses import AddressError, CanonicalAddress, canonical

MAX_PATH = 256  # octets, RFC 5321 4.5.3.1.3
Parameters = dict[str, str]

_SYNTAX = {"FROM": "501 5.5.4 Syntax: MAIL FROM:<address>", "TO": "501 5.5.4 Syntax: RCPT TO:<address>"}
_BRACKETED = r'<(?P<bracketed>(?:"(?:[^"\\]|\\.)*"|[^<>"])*)>'
_PATH = re.compile(rf'\s*(?:{_BRACKETED}|(?P<bare>[^\s<>"]+))(?P<rest>(?:\s.*)?)', re.DOTALL)
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e]+))?")
_SOURCE_ROUTE = re.compile(r"@[^:]*:")  # RFC 5321 4.1.1.3: accepted and ignored


class Refused(Exception):
    """The command cannot be carried out; `str()` is the whole reply."""


def parse_path(argument: str | None, keyword: Literal["FROM", "TO"]) -> tuple[str, Parameters]:
    """The path without brackets and source route, and the parameters by upper-case name. Raises Refused."""
    start = f"{keyword}:"
    if argument is None or argument[: len(start)].upper() != start:
        raise Refused(_SYNTAX[keyword])
    match = _PATH.fullmatch(argument, len(start))
    if match is None:
        raise Refused(_SYNTAX[keyword])
    path = match["bare"] or match["bracketed"] or ""
    return _SOURCE_ROUTE.sub("", path, count=1) if path.startswith("@") else path, _parameters(match["rest"])


def envelope_sender(path: str) -> str:
    """The address that bounces go to, as it was sent; empty for the null sender. Raises Refused.

    Nothing more is asked of it than that it can be kept: whether it is a good address is for the sender rules to
    judge.
    """
    if not path.isprintable():
        raise Refused("553 5.1.7 The sender's address has characters that cannot be used, or is not UTF-8")
    if len(path.encode()) > MAX_PATH:
        raise Refused(f"501 5.1.7 The sender's address is longer than {MAX_PATH} octets")
    return path


def recipient_address(path: str) -> CanonicalAddress:
    """What the path means here. Raises Refused with the reason."""
    if path.lower() == "postmaster":  # RFC 5321 4.1.1.3: the one name that needs no domain
        path = f"postmaster@{settings.MAILBOT_DOMAIN}"
    try:
        path.encode()
        return canonical(path)
    except UnicodeEncodeError:
        raise Refused("553 5.1.3 The address is not UTF-8") from None
    except AddressError as error:
        raise Refused(f"553 5.1.3 {error}") from error


def check_mail_parameters(parameters: Parameters, *, max_size: int) -> None:
    """Raises Refused for a size that is too large already, or a parameter that we did not offer."""
    for name, value in parameters.items():
        match name:
            case "SIZE" if re.fullmatch(r"[0-9]{1,20}", value):
                if int(value) > max_size:
                    raise Refused(too_large(max_size))
            case "BODY" if value.upper() in ("7BIT", "8BITMIME"):
                pass
            case "SMTPUTF8" if not value:
                pass
            case "SIZE" | "BODY" | "SMTPUTF8":
                raise Refused(f"501 5.5.4 The value of {name} cannot be read")
            case _:
                raise Refused(f"555 5.5.4 The parameter {name} is not offered here")


def check_rcpt_parameters(parameters: Parameters) -> None:
    """We offer none. Raises Refused."""
    for name in parameters:
        raise Refused(f"555 5.5.4 The parameter {name} is not offered here")


def too_large(max_size: int) -> str:
    return f"552 5.3.4 The mail is larger than {max_size} octets"


def _parameters(text: str) -> Parameters:
    found: Parameters = {}
    for word in text.split():
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise Refused("501 5.5.4 The parameters cannot be read")
        found[match[1].upper()] = match[2] or ""
    return found
