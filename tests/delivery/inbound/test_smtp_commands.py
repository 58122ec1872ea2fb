from datetime import timedelta

import pytest
from django.utils import timezone

from delivery.models import InboundMail
from inboxes.models import Account, Inbox
from tests.delivery.inbound.conftest import stored_mails

UNKNOWN = "550 5.1.1 No such mailbox here"


class TestGreeting:
    def test_it_says_what_it_offers_and_nothing_else(self, smtp_server):
        client = smtp_server.client(greet=False)
        assert client.greeting.startswith("220 mailbot.localhost ")
        assert client.command("EHLO client.example").split("\n") == [
            "250-mailbot.localhost",
            "250-SIZE 100000",
            "250-8BITMIME",
            "250-SMTPUTF8",
            "250-PIPELINING",
            "250 ENHANCEDSTATUSCODES",
        ]

    def test_it_takes_helo_for_clients_of_old(self, smtp_server, inbox):
        client = smtp_server.client(greet=False)
        assert client.command("HELO client.example") == "250 mailbot.localhost"
        assert client.deliver(inbox.address, b"Hello\r\n") == "250 2.0.0 OK"

    @pytest.mark.parametrize("line", ["EHLO", "HELO"])
    def test_it_wants_a_name(self, smtp_server, line):
        assert smtp_server.client(greet=False).command(line).startswith("501 5.5.4 ")

    def test_it_wants_to_be_greeted_first(self, smtp_server):
        assert smtp_server.client(greet=False).command("MAIL FROM:<a@example.com>").startswith("503 5.5.1 ")


class TestSmallCommands:
    @pytest.mark.parametrize(
        ("line", "code"),
        [
            ("NOOP", "250 2.0.0"),
            ("RSET", "250 2.0.0"),
            ("VRFY support@mailbot.localhost", "252 2.1.5"),
            ("EXPN everybody", "502 5.5.1"),
            ("HELP", "214 2.0.0"),
            ("AUTH PLAIN AGEAYg==", "502 5.5.1"),
            ("STARTTLS", "502 5.5.1"),
            ("TURN", "500 5.5.2"),
            ("", "500 5.5.2"),
            ("QUIT", "221 2.0.0"),
        ],
    )
    def test_it_answers_with_an_enhanced_code(self, smtp_server, line, code):
        assert smtp_server.client().command(line).startswith(f"{code} ")

    def test_it_answers_pipelined_commands_in_order(self, smtp_server, inbox):
        client = smtp_server.client()
        client.send(
            b"MAIL FROM:<a@example.com>\r\nRCPT TO:<nobody@mailbot.localhost>\r\n"
            b"RCPT TO:<support@mailbot.localhost>\r\nDATA\r\n"
        )
        assert [client.reply()[:3] for _ in range(4)] == ["250", "550", "250", "354"]


class TestMail:
    @pytest.mark.parametrize(
        ("line", "sender"),
        [
            ("MAIL FROM:<>", ""),
            ("mail from: <Some.One@Example.com>", "Some.One@Example.com"),
            ("MAIL FROM:a@example.com", "a@example.com"),
            ("MAIL FROM:<@relay.example,@other.example:a@example.com>", "a@example.com"),
            ('MAIL FROM:<"a > b"@example.com> SIZE=100', '"a > b"@example.com'),
            ("MAIL FROM:<jürgen@example.com> SMTPUTF8 BODY=8BITMIME", "jürgen@example.com"),
            ("MAIL FROM:<a@example.com> body=7bit size=5", "a@example.com"),
        ],
    )
    def test_it_keeps_the_envelope_sender(self, smtp_server, inbox, line, sender):
        client = smtp_server.client()
        assert client.command(line) == "250 2.1.0 OK"
        assert client.command("RCPT TO:<support@mailbot.localhost>").startswith("250")
        assert client.command("DATA").startswith("354")
        assert client.command("Hello\r\n.") == "250 2.0.0 OK"
        assert InboundMail.objects.get().envelope_sender == sender

    @pytest.mark.parametrize(
        ("line", "code"),
        [
            ("MAIL", "501 5.5.4"),
            ("MAIL FROM", "501 5.5.4"),
            ("MAIL FROM:", "501 5.5.4"),
            ("MAIL FROM:<a@example.com", "501 5.5.4"),
            ("MAIL FROM:<a@example.com>x", "501 5.5.4"),
            ("MAIL FROM:<a@example.com> =", "501 5.5.4"),
            ("MAIL FROM:<a@example.com> SIZE=many", "501 5.5.4"),
            ("MAIL FROM:<a@example.com> BODY=BINARYMIME", "501 5.5.4"),
            ("MAIL FROM:<a@example.com> SMTPUTF8=yes", "501 5.5.4"),
            ("MAIL FROM:<a@example.com> RET=HDRS", "555 5.5.4"),
            ("MAIL FROM:<a@example.com> SIZE=100001", "552 5.3.4"),
            ("MAIL FROM:<a\x00b@example.com>", "553 5.1.7"),
            ("MAIL FROM:<a\rb@example.com>", "553 5.1.7"),
            (f"MAIL FROM:<{'a' * 260}@example.com>", "501 5.1.7"),
        ],
    )
    def test_it_refuses_what_it_cannot_use(self, smtp_server, line, code):
        assert smtp_server.client().command(line).startswith(f"{code} ")

    def test_it_refuses_octets_that_are_no_utf_8(self, smtp_server):
        client = smtp_server.client()
        client.send(b"MAIL FROM:<\xff@example.com>\r\n")
        assert client.reply().startswith("553 5.1.7 ")
        assert client.command("MAIL FROM:<>").startswith("250")
        client.send(b"RCPT TO:<\xff@mailbot.localhost>\r\n")
        assert client.reply().startswith("553 5.1.3 ")

    def test_it_takes_one_at_a_time(self, smtp_server):
        client = smtp_server.client()
        assert client.command("MAIL FROM:<>").startswith("250")
        assert client.command("MAIL FROM:<>").startswith("503 5.5.1 ")
        assert client.command("RSET").startswith("250")
        assert client.command("MAIL FROM:<>").startswith("250")


class TestRcpt:
    @pytest.mark.parametrize(
        ("path", "tag"),
        [
            ("support@mailbot.localhost", ""),
            ("SupPort+EU@MAILBOT.localhost", "eu"),
            ("support+@mailbot.localhost.", ""),
            ("@relay.example:support@mailbot.localhost", ""),
        ],
    )
    def test_it_finds_the_inbox_by_the_canonical_address(self, smtp_server, inbox, path, tag):
        assert smtp_server.client().deliver(path, b"Hello\r\n") == "250 2.0.0 OK"
        assert InboundMail.objects.get().recipients == [{"address": inbox.address, "tag": tag, "inbox_id": inbox.pk}]

    def test_it_stores_one_row_for_all_recipients(self, smtp_server, make_inbox):
        inboxes = [make_inbox("support"), make_inbox("billing")]
        client = smtp_server.client()
        client.begin("support@mailbot.localhost", "billing@mailbot.localhost", "support@mailbot.localhost")
        assert client.command(".") == "250 2.0.0 OK"
        assert [item["inbox_id"] for item in InboundMail.objects.get().recipients] == [inbox.pk for inbox in inboxes]

    def test_it_answers_alike_for_unknown_deleted_expired_and_foreign_addresses(self, smtp_server, make_inbox):
        make_inbox("deleted", status=Inbox.Status.DELETED)
        make_inbox("expired", expires_at=timezone.now() - timedelta(seconds=1))
        client = smtp_server.client()
        client.command("MAIL FROM:<>")
        ours = [f"{name}@mailbot.localhost" for name in ("unknown", "deleted", "expired")]
        for address in (*ours, "somebody@example.com", "support@mailbot.localhost.example.com", "postmaster"):
            assert client.command(f"RCPT TO:<{address}>") == UNKNOWN, address

    def test_it_receives_at_once_for_an_inbox_that_was_unknown_before(self, smtp_server, make_inbox):
        client = smtp_server.client()
        client.command("MAIL FROM:<>")
        assert client.command("RCPT TO:<new@mailbot.localhost>") == UNKNOWN
        make_inbox("new")
        assert client.command("RCPT TO:<new@mailbot.localhost>").startswith("250")

    def test_it_takes_mail_for_a_paused_inbox(self, smtp_server, make_inbox):
        paused = make_inbox("paused", status=Inbox.Status.PAUSED)
        assert smtp_server.client().deliver(paused.address, b"Hello\r\n") == "250 2.0.0 OK"

    def test_it_lets_the_sender_keep_mail_for_an_account_that_is_full(self, smtp_server, account, make_inbox):
        inbox = make_inbox("support")
        Account.objects.filter(pk=account.pk).update(is_full=True)
        client = smtp_server.client()
        client.command("MAIL FROM:<a@example.com>")
        assert client.command(f"RCPT TO:<{inbox.address}>") == "452 4.2.2 The mailbox is full, try again later"
        assert client.command("RCPT TO:<unknown@mailbot.localhost>") == UNKNOWN
        Account.objects.filter(pk=account.pk).update(is_full=False)
        assert client.command(f"RCPT TO:<{inbox.address}>") == "250 2.1.5 OK"

    def test_it_keeps_its_word_when_the_account_becomes_full(self, smtp_server, account, inbox):
        client = smtp_server.client()
        client.begin(inbox.address)
        Account.objects.filter(pk=account.pk).update(is_full=True)
        client.send(b"Hello\r\n.\r\n")
        assert client.reply() == "250 2.0.0 OK"
        assert len(stored_mails()) == 1

    def test_it_knows_postmaster_without_a_domain(self, smtp_server, make_inbox, settings):
        settings.MAILBOT_DOMAIN = "mailbot.localhost"
        make_inbox("postmaster")
        assert smtp_server.client().deliver("Postmaster", b"Hello\r\n") == "250 2.0.0 OK"

    @pytest.mark.parametrize(
        ("line", "code", "reason"),
        [
            ("RCPT", "501 5.5.4", "Syntax"),
            ("RCPT TO:", "501 5.5.4", "Syntax"),
            ("RCPT TO:<>", "553 5.1.3", "needs a local part"),
            ("RCPT TO:<support>", "553 5.1.3", "needs a local part"),
            ("RCPT TO:<a..b@mailbot.localhost>", "553 5.1.3", "twice in a row"),
            ("RCPT TO:<a b@mailbot.localhost>", "553 5.1.3", "cannot be used"),
            (f"RCPT TO:<{'a' * 65}@mailbot.localhost>", "553 5.1.3", "longer than 64 octets"),
            ("RCPT TO:<a@-bad-.example>", "553 5.1.3", "is not valid"),
            ("RCPT TO:<support@mailbot.localhost> NOTIFY=NEVER", "555 5.5.4", "NOTIFY"),
        ],
    )
    def test_it_says_what_is_wrong_with_a_malformed_one(self, smtp_server, line, code, reason):
        client = smtp_server.client()
        client.command("MAIL FROM:<>")
        reply = client.command(line)
        assert reply.startswith(f"{code} ")
        assert reason in reply

    def test_it_looks_up_a_unicode_address_in_either_form(self, smtp_server, account):
        domain = "xn--bcher-kva.example"
        Inbox.objects.create(
            account=account, mode="test", address=f"jürgen@{domain}", local_part="jürgen", domain=domain
        )
        client = smtp_server.client()
        assert client.deliver("jürgen@bücher.example", b"1\r\n") == "250 2.0.0 OK"
        assert client.deliver(f"JÜRGEN@{domain}", b"2\r\n") == "250 2.0.0 OK"

    def test_it_wants_mail_first(self, smtp_server):
        assert smtp_server.client().command("RCPT TO:<a@mailbot.localhost>").startswith("503 5.5.1 ")


class TestData:
    def test_it_wants_mail_and_rcpt_first(self, smtp_server, inbox):
        client = smtp_server.client()
        assert client.command("DATA").startswith("503 5.5.1 ")
        client.command("MAIL FROM:<>")
        assert client.command("DATA").startswith("503 5.5.1 ")
        client.command("RCPT TO:<nobody@mailbot.localhost>")
        assert client.command("DATA") == "554 5.5.1 No valid recipients"
        client.command(f"RCPT TO:<{inbox.address}>")
        assert client.command("DATA now").startswith("501 5.5.4 ")

    def test_it_starts_anew_after_each_mail(self, smtp_server, inbox):
        client = smtp_server.client()
        assert client.deliver(inbox.address, b"1\r\n") == "250 2.0.0 OK"
        assert client.command("DATA").startswith("503 ")
        assert client.deliver(inbox.address, b"2\r\n") == "250 2.0.0 OK"
        assert stored_mails() == [b"1\r\n", b"2\r\n"]

    def test_it_keeps_the_circumstances(self, smtp_server, inbox):
        client = smtp_server.client(greet=False)
        client.command("EHLO cl\x00ient.example")
        client.deliver(inbox.address, b"Hello\r\n")
        row = InboundMail.objects.get()
        assert (row.source, row.remote_addr, row.helo, row.tls) == ("smtp", "127.0.0.1", "cl\ufffdient.example", False)
        assert row.size == len(b"Hello\r\n")
        assert row.state == InboundMail.State.STORED
