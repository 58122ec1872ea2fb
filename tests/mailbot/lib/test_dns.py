"""Asking DNS: a server on loopback, or a zone file in its place."""

from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from mailbot.lib.dns import NotFound, Question, Temporary, Zone, lookup, lookup_all
from tests.dns_server import FakeDNS, fake_dns

ZONE = """
shop.example. 300 IN MX 10 MX.Shop.example.
shop.example. 300 IN MX 20 mx2.shop.example.
shop.example. 300 IN TXT "v=spf1 include:_spf" ".mail.example ~all"
key.shop.example. 300 IN CNAME key.mail.example.
key.mail.example. 300 IN TXT "p=abc"
*.wild.example. 300 IN MX 10 mx.shop.example.
a.b.wild.example. 300 IN A 192.0.2.1
null.example. 300 IN MX 0 .
"""

pytestmark = pytest.mark.one_profile
LATEST = 3.0  # seconds on a busy machine, and less than is waited where nobody says how long


class TestZoneFiles:
    @pytest.fixture(autouse=True)
    def _in_place_of_servers(self, settings: Any, tmp_path: Path) -> None:
        settings.DNS_ZONE_FILE = tmp_path / "zone"
        settings.DNS_ZONE_FILE.write_text(ZONE)

    def test_it_answers_with_text(self) -> None:
        assert lookup("shop.example", "MX") == ("10 mx.shop.example", "20 mx2.shop.example")
        assert lookup("SHOP.example.", "TXT") == ("v=spf1 include:_spf.mail.example ~all",)
        assert lookup("null.example", "MX") == ("0 .",)

    def test_it_follows_aliases(self) -> None:
        assert lookup("key.shop.example", "TXT") == ("p=abc",)

    def test_it_says_whether_the_name_exists(self) -> None:
        for name, exists in {"shop.example": True, "mail.example": True, "other.example": False}.items():
            with pytest.raises(NotFound) as missing:
                lookup(name, "AAAA")
            assert missing.value.name_exists is exists, name

    def test_it_expands_wildcards_as_a_server_does(self) -> None:
        assert lookup("anything.wild.example", "MX") == ("10 mx.shop.example",)
        assert lookup("x.y.wild.example", "MX") == ("10 mx.shop.example",)
        for covered in ("wild.example", "b.wild.example", "c.b.wild.example"):
            with pytest.raises(NotFound):
                lookup(covered, "MX")

    @pytest.mark.parametrize("name", ["a..example", f"{'x' * 64}.example", "ü\ud800.example"])
    def test_it_finds_nothing_at_what_is_no_name(self, name: str) -> None:
        with pytest.raises(NotFound):
            lookup(name, "TXT")

    def test_it_reads_a_file_anew_that_changed(self, settings: Any) -> None:
        lookup("shop.example", "MX")
        changed_at = settings.DNS_ZONE_FILE.stat().st_mtime_ns
        settings.DNS_ZONE_FILE.write_text("shop.example. IN MX 5 other.example.")
        assert settings.DNS_ZONE_FILE.stat().st_mtime_ns != changed_at
        assert lookup("shop.example", "MX") == ("5 other.example",)

    def test_it_is_temporary_when_the_file_cannot_be_read(self, settings: Any) -> None:
        settings.DNS_ZONE_FILE.write_text("shop.example. IN MX ten")
        with pytest.raises(Temporary, match=r"^The zone file of this server cannot be read\.$"):
            lookup("shop.example", "MX")

    def test_it_reads_relative_names(self) -> None:
        zone = Zone.read("$ORIGIN shop.example.\n$TTL 60\n@ IN MX 10 mx\nwww IN A 192.0.2.1\n")
        assert zone.lookup("shop.example", "MX") == ("10 mx.shop.example",)
        assert zone.lookup("www.shop.example", "A") == ("192.0.2.1",)

    def test_it_can_be_asked_by_itself(self) -> None:
        assert Zone.read(ZONE).lookup("shop.example", "MX")[0] == "10 mx.shop.example"


@pytest.fixture
def server(settings: Any) -> Iterator[FakeDNS]:
    with fake_dns(ZONE) as server:
        settings.DNS_SERVERS = [server.address]
        yield server


class TestServers:
    def test_it_answers_with_text(self, server: FakeDNS) -> None:
        assert lookup("shop.example", "MX") == ("10 mx.shop.example", "20 mx2.shop.example")
        assert lookup("shop.example", "TXT") == ("v=spf1 include:_spf.mail.example ~all",)

    def test_it_says_whether_the_name_exists(self, server: FakeDNS) -> None:
        for name, exists in {"shop.example": True, "other.example": False}.items():
            with pytest.raises(NotFound) as missing:
                lookup(name, "AAAA")
            assert missing.value.name_exists is exists, name

    def test_it_asks_once_for_what_it_knows(self, server: FakeDNS) -> None:
        for _ in range(2):
            lookup("shop.example", "MX")
            with pytest.raises(NotFound):
                lookup("other.example", "MX")
        assert server.asked == ["shop.example. MX", "other.example. MX"]

    def test_it_asks_again_when_told_to(self, server: FakeDNS) -> None:
        with pytest.raises(NotFound):
            lookup("other.example", "TXT")
        server.publish('other.example. 300 IN TXT "here now"')
        assert lookup("other.example", "TXT", fresh=True) == ("here now",)
        assert lookup("other.example", "TXT") == ("here now",)

    def test_a_server_at_fault_is_temporary(self, server: FakeDNS) -> None:
        server.manner = "fails"
        with pytest.raises(Temporary, match=r"for shop\.example") as failed:
            lookup("shop.example", "TXT", within=1)
        assert "127.0.0.1" not in str(failed.value)  # which servers were asked is nothing for tenants

    def test_a_server_that_hangs_is_temporary_in_time(self, server: FakeDNS) -> None:
        server.manner = "hangs"
        asked_at = monotonic()
        with pytest.raises(Temporary):
            lookup("shop.example", "TXT", within=0.3)
        assert monotonic() - asked_at < LATEST

    def test_nobody_there_is_temporary(self, server: FakeDNS, settings: Any) -> None:
        settings.DNS_SERVERS = ["127.0.0.1:1"]
        with pytest.raises(Temporary):
            lookup("shop.example", "TXT", within=0.3)


class TestManyAtOnce:
    def test_it_answers_each(self, server: FakeDNS) -> None:
        there, absent = Question("shop.example", "MX"), Question("other.example", "MX")
        answers = lookup_all([there, absent])
        assert answers[there] == ("10 mx.shop.example", "20 mx2.shop.example")
        assert isinstance(answers[absent], NotFound)

    def test_it_takes_no_longer_than_it_may(self, server: FakeDNS) -> None:
        """More than are asked at once: what waits in line has no answer either."""
        server.manner = "hangs"
        questions = [Question(f"{number}.shop.example", "TXT") for number in range(40)]
        asked_at = monotonic()
        answers = lookup_all(questions, within=0.5)
        assert monotonic() - asked_at < LATEST
        assert {type(answer) for answer in answers.values()} == {Temporary}
