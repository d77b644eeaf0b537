"""The table of packet rules that stands between environments with internet access and everything that is not the internet.

Each launcher has a table of its own, so that it can be put in place and taken away as a whole.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from ipaddress import IPv4Address, IPv4Network

LINK_PREFIX = "lmb"  # of every launcher's links on the host
TABLE_PREFIX = "lambent_"
PATH = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin"  # where nft may be
CONNECTIONS_MAX = (
    2_048  # of one environment at a time: twice its descriptors; the host's table of them is shared by all
)

# "This" network, loopback, link-local with the clouds' metadata services, multicast, reserved and broadcast: RFC 6890.
_NEVER = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
# RFC 1918; shared by carriers and overlay networks, RFC 6598; assignments of RFC 6890; benchmarks, RFC 2544.
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15")
_TIMEOUT_S = 10.0

_TABLE = """\
table inet {table} {{
  set connections {{
    type ipv4_addr
    size 65535
    flags dynamic
  }}
  chain refused {{
    meta nfproto ipv6 drop
    ip saddr != {block} drop
    {dns}
    ip daddr {{ {refused} }} drop
    fib daddr type local drop
  }}
  chain before {{
    type filter hook prerouting priority raw; policy accept;
    iifname "{links}*" jump refused
  }}
  chain input {{
    type filter hook input priority filter - 10; policy accept;
    iifname "{links}*" drop
  }}
  chain forward {{
    type filter hook forward priority filter - 10; policy accept;
    iifname "{links}*" jump outgoing
    oifname "{links}*" jump incoming
  }}
  chain outgoing {{
    oifname "{any_links}*" drop
    ct status dnat drop
    jump refused
    ct state new add @connections {{ ip saddr ct count over {connections} }} drop
  }}
  chain incoming {{
    ct state established,related accept
    drop
  }}
  chain after {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {block} oifname != "{any_links}*" masquerade
  }}
}}
"""


class FirewallError(OSError):
    """nft is missing or refused; the message says what to do."""


def rules(number: int, block: IPv4Network, resolvers: list[IPv4Address], *, private: bool) -> str:
    """The table of launcher `number`, as nft reads it.

    What a packet is refused for is asked before the host's own rules may redirect it, and again afterwards: a port
    that the host publishes for a container is a service of the host.
    """
    refused = [*_NEVER, *(() if private else _PRIVATE)]
    if not any(block.subnet_of(IPv4Network(network)) for network in refused):
        refused.append(str(block))
    names = ", ".join(map(str, resolvers))
    dns = f"ip daddr {{ {names} }} meta l4proto {{ tcp, udp }} th dport 53 return" if resolvers else ""
    return _TABLE.format(
        table=table_name(number), block=block, dns=dns, refused=", ".join(refused), links=links_of(number),
        any_links=LINK_PREFIX, connections=CONNECTIONS_MAX,
    )  # fmt: skip


def table_name(number: int) -> str:
    return f"{TABLE_PREFIX}{number}"


def links_of(number: int) -> str:
    """What the names of a launcher's links begin with."""
    return f"{LINK_PREFIX}{number}-"


def put(text: str) -> None:
    """Raises FirewallError."""
    _nft("-f", "-", given=text)


def remove(number: int) -> None:
    """Raises FirewallError when there is no such table."""
    _nft("delete", "table", "inet", table_name(number))


def tables() -> list[int]:
    """The numbers of the launchers whose tables are there. Raises FirewallError."""
    pattern = re.compile(rf"^table inet {TABLE_PREFIX}(\d+)$", re.MULTILINE)
    return [int(number) for number in pattern.findall(_nft("list", "tables"))]


def others_that_forward() -> dict[str, bool]:
    """Tables of others with a say in what is forwarded, and whether they drop what they do not know."""
    found: dict[str, bool] = {}
    table = ""
    for line in _nft("list", "chains").splitlines():
        if line.startswith("table "):
            table = line.removeprefix("table ").removesuffix(" {")
        elif "hook forward" in line and not table.startswith(f"inet {TABLE_PREFIX}"):
            found[table] = found.get(table, False) or "policy drop" in line
    return found


def _nft(*arguments: str, given: str = "") -> str:
    program = shutil.which("nft", path=PATH)
    if program is None:
        raise FirewallError("internet access for functions needs the program nft; install the package nftables")
    try:
        ran = subprocess.run([program, *arguments], input=given, capture_output=True, text=True, timeout=_TIMEOUT_S,
                             check=False, env={"PATH": PATH, "LC_CTYPE": "C.UTF-8"})  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise FirewallError(f"nft did not end within {_TIMEOUT_S:.0f} s") from error
    if ran.returncode != 0:
        raise FirewallError(f"the kernel's packet filter refuses what internet access needs: {ran.stderr.strip()}")
    return ran.stdout
