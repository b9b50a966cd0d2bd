"""Addresses on the net: what of them may be told, and whether they lead inside."""

import ipaddress
import re
import socket
from urllib.parse import urlsplit

# Keys of a query whose values say what is asked for. All others may be a token's, which nobody should read.
_PLAIN = {"v", "id", "vid", "list", "t", "start", "end", "size", "format", "download", "raw", "dl"}
_ADDRESS = re.compile(r"https?://[^\s'\"<>]+?(?=[:;,.)\]]*(?:[\s'\"<>]|$))", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/?#]*@")
HIDDEN = "***"


def without_secrets(text: str) -> str:
    """A text whose addresses show no name, no password and no token, where they hold some."""
    return _ADDRESS.sub(lambda found: _masked(found[0]), text)


def _masked(address: str) -> str:
    bare, fragment, _ = _USER.sub(f"{HIDDEN}@", address).partition("#")
    place, mark, query = bare.partition("?")
    return place + mark + "&".join(map(_masked_pair, query.split("&"))) + (f"#{HIDDEN}" if fragment else "")


def _masked_pair(pair: str) -> str:
    key, equals, value = pair.partition("=")
    if not value:
        return pair if equals or not key else HIDDEN
    return pair if key.lower() in _PLAIN else f"{key}={HIDDEN}"


def leads_inside(address: str) -> bool:
    """Whether the host of an address is this machine or in a net that is not public, by its name or its number."""
    return any(not number.is_global or number.is_multicast for number in _numbers(urlsplit(address).hostname or ""))


def _numbers(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The numbers of a host; none where nobody has the name here, as behind a proxy that looks names up itself."""
    try:
        found = {entry[4][0].partition("%")[0] for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return []
    numbers = [ipaddress.ip_address(number) for number in found]
    return [getattr(number, "ipv4_mapped", None) or number for number in numbers]
