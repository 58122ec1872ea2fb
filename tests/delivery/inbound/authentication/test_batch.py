"""Mail is filed whether DNS answers or not, and DNS is asked only where it can say something."""

from collections.abc import Callable, Iterator
from threading import Event
from time import monotonic
from typing import Any

import pytest

from delivery.inbound.authentication import answers, batch
from delivery.inbound.authentication.breaker import FAILURES, PAUSE, Breaker
from delivery.inbound.authentication.patience import LEAST, SAVED, Patience
from delivery.models import InboundMail
from inboxes.models import Inbox
from mailbot.lib import dns
from mailbot.lib.dns import NotFound, Temporary
from tests.cast import Caller, run_workers
from tests.delivery.inbound.authentication.senders import BANK_SERVER, arrive, receive, signed
from tests.delivery.inbound.authentication.shown import newest
from tests.dns_server import FakeDNS, fake_dns
from tests.mailing import mail

BANK = "bank-of-the-tests.com"
ZONE = f"""
{BANK}. IN TXT "v=spf1 ip4:{BANK_SERVER} -all"
_dmarc.{BANK}. IN TXT "v=DMARC1; p=reject"
. IN NS ns.root.example.
"""
FROM_BANK: dict[str, str] = {"peer": BANK_SERVER, "envelope": f"ann@{BANK}"}


@pytest.fixture
def server(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDNS]:
    """The DNS of a machine, and a process that knows nothing of it yet."""
    monkeypatch.setattr(answers, "BREAKER", Breaker())
    monkeypatch.setattr(batch, "PATIENCE", Patience())
    with fake_dns(ZONE) as server:
        settings.AUTHENTICATION_SECONDS = 5
        settings.DNS_SERVERS = [server.address]
        yield server


@pytest.fixture
def silence(server: FakeDNS, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let it say nothing from now on; who asks finds out sooner than usual."""

    def begin() -> None:
        monkeypatch.setattr(answers, "WITHIN", 0.3)
        server.manner = "hangs"

    return begin


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox()


def from_bank(**headers: str) -> bytes:
    return mail(**{"From": f"ann@{BANK}", **headers})


class TestDNS:
    def test_it_is_asked_through_servers(self, alice: Caller, inbox: Inbox, server: FakeDNS) -> None:
        receive(from_bank(), inbox, **FROM_BANK)
        assert newest(alice, inbox).auth == ("pass", "none", "pass")
        receive(from_bank(), inbox)
        assert newest(alice, inbox).flags == ["from_forged"]

    def test_it_is_not_asked_where_it_could_say_nothing(self, alice: Caller, inbox: Inbox, server: FakeDNS) -> None:
        """Ordinary mail on a machine of one's own, and names that no DNS knows (RFC 6761)."""
        for peer in ("127.0.0.1", "::1", "10.1.2.3", "fe80::1%eth0", ""):
            receive(from_bank(), inbox, peer=peer)
            assert newest(alice, inbox).auth == ("none", "none", "none")
        receive(mail(From="ann@shop.example"), inbox, envelope="ann@shop.test", helo="mx.shop.invalid")
        assert newest(alice, inbox).auth == ("none", "none", "none")
        assert server.asked == []

    @pytest.mark.parametrize("manner", ["hangs", "fails"])
    def test_mail_is_filed_without_it(
        self, alice: Caller, inbox: Inbox, server: FakeDNS, silence: Callable[[], None], manner: str
    ) -> None:
        if manner == "hangs":
            silence()
        else:
            server.manner = manner
        receive(from_bank(), inbox, **FROM_BANK)
        shown = newest(alice, inbox)
        assert (shown.auth, shown.flags) == (("temperror", "none", "temperror"), [])
        assert (shown.score, shown.authentication["standing"]) == (0.5, "unknown")
        assert InboundMail.objects.get().state == "processed"

    def test_a_conversation_goes_on_without_it(self, alice: Caller, inbox: Inbox, silence: Callable[[], None]) -> None:
        receive(from_bank(Message_ID=f"<root@{BANK}>"), inbox, **FROM_BANK)
        first = newest(alice, inbox)
        silence()
        receive(from_bank(In_Reply_To=f"<root@{BANK}>", From=f"Ann <ann@{BANK}>"), inbox, peer="192.0.2.50")
        assert newest(alice, inbox).thread != first.thread  # what is kept in the cache still answers
        receive(signed(from_bank(In_Reply_To=f"<root@{BANK}>"), BANK), inbox, peer="192.0.2.50")
        shown = newest(alice, inbox)
        assert (shown.auth[1:], shown.thread, shown.flags) == (
            ("temperror", "temperror"),
            first.thread,
            ["sender_unverified"],
        )

    def test_it_is_not_asked_again_and_again(
        self, alice: Caller, inbox: Inbox, server: FakeDNS, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also where the root was known before."""
        dns.lookup(".", "NS")
        server.manner = "hangs"
        lookup, asked = dns.lookup, []

        def counted(name: str, *details: Any, **options: Any) -> Any:
            asked.append(name)
            return lookup(name, *details, **{**options, "within": 0.05})

        monkeypatch.setattr(dns, "lookup", counted)
        for _ in range(2 * FAILURES):
            receive(from_bank(), inbox, **FROM_BANK)
        assert (len(asked), asked[-1]) == (FAILURES + 1, ".")

    def test_silence_of_others_takes_no_time_of_what_decides(
        self, alice: Caller, inbox: Inbox, server: FakeDNS, monkeypatch: pytest.MonkeyPatch, settings: Any
    ) -> None:
        """A forger's own signatures, slow on purpose, before a MAIL FROM whose SPF fails."""
        lookup = dns.lookup

        def slow(name: str, *details: Any, within: float = 1, **options: Any) -> Any:
            if "silent.com" in name:
                Event().wait(within)
                raise Temporary("silent")
            return lookup(name, *details, within=within, **options)

        monkeypatch.setattr(dns, "lookup", slow)
        settings.AUTHENTICATION_SECONDS = 6
        raw = from_bank()
        for _ in range(9):
            raw = signed(raw, "silent.com")
        receive(raw, inbox, peer="192.0.2.50", envelope=f"ann@{BANK}")
        shown = newest(alice, inbox)
        assert (shown.auth, shown.flags) == (("fail", "temperror", "fail"), ["from_forged"])

    def test_a_batch_takes_no_longer_than_one_mail(
        self, alice: Caller, inbox: Inbox, silence: Callable[[], None]
    ) -> None:
        silence()
        for number in range(40):
            arrive(from_bank(Subject=str(number)), inbox, **FROM_BANK)
        began = monotonic()
        run_workers()
        assert monotonic() - began < 8  # one after the other would be twelve
        assert InboundMail.objects.filter(state="processed").count() == 40

    def test_a_domain_that_is_silent_hides_no_forgery(
        self, alice: Caller, inbox: Inbox, server: FakeDNS, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever forges may name servers of his own that never answer."""
        lookup = dns.lookup

        def silent(name: str, *details: Any, **options: Any) -> Any:
            if "silent.com" in name:
                raise Temporary("silent")
            return lookup(name, *details, **options)

        monkeypatch.setattr(dns, "lookup", silent)
        for _ in range(2 * FAILURES):
            raw = signed(from_bank(), "silent.com")
            receive(raw, inbox, envelope="mallory@silent.com", helo="mx.silent.com")
        shown = newest(alice, inbox)
        assert (shown.auth, shown.flags) == (("temperror", "temperror", "fail"), ["from_forged"])

    def test_nothing_is_asked_where_the_setting_says_so(
        self, alice: Caller, inbox: Inbox, server: FakeDNS, settings: Any
    ) -> None:
        settings.AUTHENTICATION_SECONDS = 0
        receive(from_bank(), inbox)
        assert newest(alice, inbox).auth == ("none", "none", "none")
        assert server.asked == []


class TestBreaker:
    def test_it_stops_asking_what_does_not_answer_and_tries_again(self) -> None:
        now, asked = [0.0], []
        is_there = [False]
        breaker = Breaker(lambda: is_there[0], lambda: now[0])

        def question() -> tuple[str, ...]:
            asked.append(now[0])
            if not is_there[0]:
                raise Temporary("silent")
            return ("x",)

        for _ in range(2 * FAILURES):
            with pytest.raises(Temporary):
                breaker.ask(question)
        assert len(asked) == FAILURES
        is_there[0] = True
        with pytest.raises(Temporary):
            breaker.ask(question)
        now[0] += PAUSE
        assert breaker.ask(question) == ("x",)

    def test_silent_domains_do_not_stop_it(self) -> None:
        breaker = Breaker(lambda: True)

        def silent() -> tuple[str, ...]:
            raise Temporary("silent")

        for _ in range(3 * FAILURES):
            with pytest.raises(Temporary, match="silent"):
                breaker.ask(silent)

    def test_that_there_is_nothing_is_an_answer(self) -> None:
        breaker = Breaker(lambda: False)

        def missing() -> tuple[str, ...]:
            raise NotFound("x.com", "TXT")

        for _ in range(3 * FAILURES):
            with pytest.raises(NotFound):
                breaker.ask(missing)


def test_waiting_for_dns_takes_a_share_of_the_time() -> None:
    now = [0.0]
    patience = Patience(lambda: now[0])
    assert patience.seconds(5) == 5
    for _ in range(3):
        patience.note_waited(5)
    assert patience.seconds(5) == LEAST
    now[0] += 1000
    assert patience.seconds(60) == SAVED
