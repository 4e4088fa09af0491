"""Tests of the address guard: allowed addresses and valid URLs, by tables, edges and properties."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.egress.address_guard import (
    NOT_PUBLIC,
    URL_LIMIT,
    Address,
    BadUrl,
    Guard,
    Network,
    Origin,
    guard,
    split,
)
from tests.receiver.raw_server import BOUNDED

DENIED = """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
    192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24
    224.0.0.0/4 240.0.0.0/4 168.63.129.16/32
    ::/96 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 2002::/16
    3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8
"""
NETWORKS: list[Network] = [ipaddress.ip_network(text) for text in DENIED.split()]
# Just beyond both ends of the denied ranges, and names that everybody knows.
PUBLIC = """
    1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
    169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0
    192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255
    198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255 168.63.129.15 168.63.129.17
    1.1.1.1 8.8.8.8 93.184.215.14
    2001:200:: 2001:db7:ffff:: 2001:db9:: 2003:: 2606:4700:4700::1111 2620:fe::fe 3ffe::1 2a00::1
"""
# Addresses of which one standard library or another says that they are public.
TREACHEROUS = """
    224.0.0.1 192.0.0.192 192.88.99.1 168.63.129.16 255.255.255.255 100.100.100.200
    ff02::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b:1::a00:1
    2002:7f00:1:: 2001:0:7f00:1:: fec0::1 3fff::1 5f00::1 :: ::1 fd00:ec2::254 fe80::1%lo
"""
NEIGHBOURS = "127.0.0.0 127.0.0.2 127.255.255.255 ::1 ::ffff:127.0.0.1 ::127.0.0.1 0.0.0.0"


def edges(network: Network) -> list[Address]:
    """Return the first and the last address of a network, and one between."""
    return [network[0], network[-1], network[network.num_addresses // 2]]


def test_the_list_is_the_one_that_was_decided() -> None:
    assert set(NOT_PUBLIC) == set(NETWORKS)
    assert len(NOT_PUBLIC) == len(NETWORKS)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_both_ends_of_every_range_are_refused_for_both_schemes(network: Network) -> None:
    open_guard = guard([], http=True)
    assert not [
        address
        for address in edges(network)
        for scheme in ("https", "http")
        if open_guard.permits(address, scheme)
    ]


@pytest.mark.parametrize("text", TREACHEROUS.split())
def test_what_the_standard_library_may_call_public_is_refused(text: str) -> None:
    assert not guard([], http=True).permits(ipaddress.ip_address(text), "https")


@pytest.mark.parametrize("text", PUBLIC.split())
def test_public_addresses_are_permitted_by_https_and_by_http_on_request(text: str) -> None:
    address = ipaddress.ip_address(text)
    assert Guard().permits(address, "https")
    assert not Guard().permits(address, "http")
    assert guard([], http=True).permits(address, "http")


@BOUNDED
@given(
    st.one_of(
        st.ip_addresses(v=4), st.sampled_from(NETWORKS).flatmap(lambda net: st.sampled_from(edges(net)))
    )
)
def test_we_are_never_laxer_than_the_standard_library(address: Address) -> None:
    assert address.is_global or not Guard().permits(address, "https")


@BOUNDED
@given(st.ip_addresses(), st.sampled_from(["127.0.0.1/32", "10.0.0.0/8", "fd00::/8", "::1/128"]))
def test_an_allowed_network_opens_itself_and_nothing_else(address: Address, network: str) -> None:
    allowing = guard([network], http=False)
    inside = address in ipaddress.ip_network(network)
    assert allowing.permits(address, "http") is inside
    assert allowing.permits(address, "https") is (inside or Guard().permits(address, "https"))


@pytest.mark.parametrize("neighbour", NEIGHBOURS.split())
def test_allowing_loopback_allows_one_spelling_of_one_address(neighbour: str) -> None:
    allowing = guard(["127.0.0.1/32"], http=True)
    assert allowing.permits(ipaddress.ip_address("127.0.0.1"), "http")
    assert not allowing.permits(ipaddress.ip_address(neighbour), "http")


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.0.0.1/8", "127.0.0.1/33", "10.0.0.0-10.0.0.9", "::1/129"]
)
def test_what_is_no_network_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        guard([text], http=False)


GOOD = [
    ("https://a.test", "a.test", 443, "/", "a.test"),
    ("https://a.test/", "a.test", 443, "/", "a.test"),
    ("http://A.Test:80/x", "a.test", 80, "/x", "a.test"),
    ("https://a.test:443/x?", "a.test", 443, "/x?", "a.test"),
    ("http://a.test:443/", "a.test", 443, "/", "a.test:443"),
    ("https://a.test:80/", "a.test", 80, "/", "a.test:80"),
    ("https://a.test:1024/", "a.test", 1024, "/", "a.test:1024"),
    ("https://a.test:65535?q=1", "a.test", 65535, "/?q=1", "a.test:65535"),
    ("https://a_b-c.test./p", "a_b-c.test.", 443, "/p", "a_b-c.test."),
    ("https://[2606:4700::1111]/", "2606:4700::1111", 443, "/", "[2606:4700::1111]"),
    ("https://[2606:4700:0:0:0:0:0:1]:8443/", "2606:4700::1", 8443, "/", "[2606:4700::1]:8443"),
    ("https://1.1.1.1:8080/", "1.1.1.1", 8080, "/", "1.1.1.1:8080"),
    (
        "https://a.test/a%2Fb/../c//d/./;p=1?x=%00&y=?/@:",
        "a.test",
        443,
        "/a%2Fb/../c//d/./;p=1?x=%00&y=?/@:",
        "a.test",
    ),
    (
        "https://a.test/%e2%82%ac/~!$&'()*+,=\"<>[]^`{|}",
        "a.test",
        443,
        "/%e2%82%ac/~!$&'()*+,=\"<>[]^`{|}",
        "a.test",
    ),
    ("https://" + "a" * 63 + ".test/", "a" * 63 + ".test", 443, "/", "a" * 63 + ".test"),
]


@pytest.mark.parametrize(("url", "host", "port", "target", "header"), GOOD, ids=[row[0][:40] for row in GOOD])
def test_a_url_is_an_origin_and_a_target_byte_for_byte(
    url: str, host: str, port: int, target: str, header: str
) -> None:
    origin, found = split(url)
    assert origin == Origin(url.partition(":")[0], host, port)
    assert (found, origin.header) == (target, header)
    assert str(origin) == f"{origin.scheme}://{header}"


PORTS = [
    ("1", False), ("21", False), ("22", False), ("25", False), ("79", False), ("80", True), ("081", False),
    ("0443", True), ("443", True), ("445", False), ("1023", False), ("1024", True), ("6379", True),
    ("65535", True), ("65536", False), ("99999", False), ("100000", False), ("0", False), ("00000", False),
    ("", False), ("+80", False), ("-1", False), (" 80", False), ("8e1", False), ("8_0", False),
    ("\uff18\uff10", False), ("\u0668\u0660", False), ("80:80", False), ("0x50", False),
]  # fmt: skip


@pytest.mark.parametrize(("port", "good"), PORTS, ids=[ascii(port) for port, _ in PORTS])
def test_ports_are_the_two_of_the_web_and_the_high_ones(port: str, good: bool) -> None:
    url = f"https://a.test:{port}/"
    if good:
        assert split(url)[0].port == int(port)
    else:
        with pytest.raises(BadUrl):
            split(url)


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize(
    "code", [*range(33), 0x5C, 0x7F, 0x80, 0xA0, 0xAD, 0x200B, 0x2028, 0x3002, 0xD800, 0xFF0F]
)
def test_no_blank_control_backslash_or_non_ascii_character_anywhere(code: int, place: int) -> None:
    parts = ["", "https://a", ".test:8080", "/p", "?q", ""]
    url = "".join(parts[: place + 1]) + chr(code) + "".join(parts[place + 1 :])
    with pytest.raises(BadUrl):
        split(url)


@pytest.mark.parametrize("size", [URL_LIMIT, URL_LIMIT + 1])
def test_the_length_of_a_url_is_bounded(size: int) -> None:
    url = "https://a.test/".ljust(size, "x")
    if size <= URL_LIMIT:
        assert len(split(url)[1]) == size - len("https://a.test")
    else:
        with pytest.raises(BadUrl, match=str(URL_LIMIT)):
            split(url)


@BOUNDED
@given(st.one_of(st.text(), st.text(alphabet="htps:/@.#?[]0x127a\\%\t").map(lambda text: "http://" + text)))
def test_any_text_is_a_url_or_refused_and_nothing_else(text: str) -> None:
    try:
        origin, target = split(text)
    except BadUrl:
        return
    assert text.isascii()
    assert target.startswith("/")
    assert (
        text.partition("://")[2].partition("/")[0].partition("?")[0].partition(":")[0].lower()
        in origin.header
    )


@BOUNDED
@given(st.text(alphabet=[chr(code) for code in range(33, 127) if chr(code) not in "\\#"], max_size=200))
def test_every_printable_path_survives_untouched(path: str) -> None:
    assert split("https://a.test/" + path)[1] == "/" + path


INSIDE = "10.1.2.3 172.16.0.9 192.168.1.1 100.64.0.7 127.0.0.1 ::1 fd12:3456::1"
NEVER = """
    169.254.169.254 169.254.1.1 168.63.129.16 192.0.0.192 100.100.100.200 fd00:ec2::254 fe80::1 0.0.0.0 ::
    169.254.170.2 169.254.170.23 fd00:ec2::23 fd20:ce::254
    ::ffff:169.254.169.254 ::ffff:10.0.0.1 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe:: 224.0.0.1 255.255.255.255
"""


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["inside.example", "INSIDE.example", "inside.example."])
def test_an_allowed_name_may_lead_to_private_addresses_and_to_public_ones(host: str, scheme: str) -> None:
    allowing = guard([], http=False, hosts=["inside.example"])
    for text in [*INSIDE.split(), *PUBLIC.split()]:
        address = ipaddress.ip_address(text)
        assert allowing.permits(address, scheme, host), text
        assert allowing.permits(address, scheme, "other.example") is Guard().permits(address, scheme), text
        assert allowing.permits(address, scheme) is Guard().permits(address, scheme), text


@pytest.mark.parametrize("text", NEVER.split())
def test_an_allowed_name_never_leads_to_metadata_or_to_no_host(text: str) -> None:
    allowing = guard([], http=True, hosts=["inside.example"])
    assert not allowing.permits(ipaddress.ip_address(text), "https", "inside.example")
