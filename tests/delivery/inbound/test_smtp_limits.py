import select

from delivery.models import InboundMail
from tests.delivery.inbound.conftest import stored_mails


class TestSize:
    def test_it_refuses_a_mail_that_is_too_large_and_goes_on(self, smtp_server, inbox):
        client = smtp_server.client()
        assert client.deliver(inbox.address, b"x" * 100_000 + b"\r\n").startswith("552 5.3.4 ")
        assert client.deliver(inbox.address, b"x" * 99_998 + b"\r\n") == "250 2.0.0 OK"
        assert [len(raw) for raw in stored_mails()] == [100_000]

    def test_it_holds_no_more_than_the_limit_while_it_waits_for_the_end(self, smtp_server, inbox):
        client = smtp_server.client()
        client.begin(inbox.address)
        for _ in range(50):
            client.send(b"y" * 100_000)
            assert smtp_server.smtp.budget.held <= 100_000
        client.send(b"\r\n.\r\n")
        assert client.reply().startswith("552 5.3.4 ")
        assert smtp_server.smtp.budget.held == 0

    def test_it_takes_lines_of_any_length(self, smtp_server, inbox):
        raw = b"Subject: " + b"l" * 95_000 + b"\r\n"
        assert smtp_server.client().deliver(inbox.address, raw) == "250 2.0.0 OK"
        assert stored_mails() == [raw]

    def test_it_takes_mail_later_when_all_together_are_too_large(self, start_smtp, inbox):
        server = start_smtp(max_queued_octets=120_000)
        first, second = server.client(), server.client()
        first.begin(inbox.address)
        first.send(b"1" * 90_000)
        while server.smtp.budget.held == 0:  # until the server has read so far
            assert second.command("NOOP").startswith("250")
        assert second.deliver(inbox.address, b"2" * 50_000 + b"\r\n").startswith("452 4.3.1 ")
        first.send(b"\r\n.\r\n")
        assert first.reply() == "250 2.0.0 OK"
        assert second.deliver(inbox.address, b"2" * 50_000 + b"\r\n") == "250 2.0.0 OK"


class TestHops:
    def test_it_refuses_a_mail_that_goes_round_in_circles(self, smtp_server, inbox):
        """RFC 5321 6.3."""
        client, hop = smtp_server.client(), b"Received: from a.example by b.example\r\n"
        quoted = b"\r\n" + hop * 100
        assert client.deliver(inbox.address, hop * 99 + b"Subject: Far\r\n" + quoted) == "250 2.0.0 OK"
        assert client.deliver(inbox.address, hop * 100 + b"Subject: Too far\r\n").startswith("554 5.4.6 ")
        assert len(stored_mails()) == 1


class TestCommands:
    def test_it_refuses_a_command_line_that_is_too_long_and_goes_on(self, smtp_server):
        client = smtp_server.client()
        assert client.command(f"NOOP {'x' * 2_000}").startswith("500 5.5.2 ")
        assert client.command(f"NOOP {'x' * 500_000}").startswith("500 5.5.2 ")
        assert client.command("NOOP") == "250 2.0.0 OK"

    def test_it_ends_a_session_with_too_many_errors(self, smtp_server):
        client = smtp_server.client()
        for _ in range(20):
            assert client.command("RCPT TO:<a@mailbot.localhost>").startswith("503 ")
        assert client.command("RCPT TO:<a@mailbot.localhost>").startswith("421 4.7.0 ")
        assert client.is_closed()

    def test_it_ends_a_session_with_too_many_unknown_commands(self, smtp_server):
        client = smtp_server.client()
        replies = [client.command("GET / HTTP/1.1") for _ in range(5)]
        assert [reply[:3] for reply in replies] == ["500"] * 4 + ["421"]
        assert client.is_closed()


class TestRecipients:
    def test_it_asks_to_send_the_rest_separately(self, start_smtp, make_inbox):
        client = start_smtp(max_recipients=2).client()
        client.command("MAIL FROM:<>")
        for name in ("a", "b"):
            assert client.command(f"RCPT TO:<{make_inbox(name).address}>").startswith("250")
        assert client.command(f"RCPT TO:<{make_inbox('c').address}>").startswith("452 4.5.3 ")
        assert client.command("DATA").startswith("354")
        assert client.command(".") == "250 2.0.0 OK"
        assert len(InboundMail.objects.get().recipients) == 2

    def test_it_ends_a_session_that_tries_name_after_name(self, start_smtp):
        client = start_smtp(max_recipients=3).client()
        client.command("MAIL FROM:<>")
        replies = [client.command(f"RCPT TO:<name{number}@mailbot.localhost>") for number in range(4)]
        assert [reply[:3] for reply in replies] == ["550", "550", "550", "421"]
        assert client.is_closed()


class TestConnections:
    def test_it_turns_away_one_too_many_and_takes_the_next_when_one_has_gone(self, start_smtp):
        server = start_smtp(max_connections=2)
        first, _second = server.client(), server.client()
        third = server.client(greet=False)
        assert third.greeting.startswith("421 4.7.0 ")
        assert third.is_closed()
        assert first.command("QUIT").startswith("221")
        assert first.is_closed()
        assert server.client(greet=False).greeting.startswith("220 ")

    def test_it_limits_one_address_but_not_this_machine(self, start_smtp, monkeypatch):
        server = start_smtp(max_connections_per_address=1)
        server.client()
        assert server.client(greet=False).greeting.startswith("220 ")
        monkeypatch.setattr("delivery.inbound.smtp_server._is_local", lambda address: False)
        assert server.client(greet=False).greeting.startswith("421 4.7.0 ")

    def test_it_survives_a_client_that_goes_at_any_moment(self, smtp_server, inbox):
        for octets in (
            b"",
            b"EHL",
            b"EHLO x\r\n",
            b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<support@mailbot.localhost>\r\n",
        ):
            client = smtp_server.client(greet=False)
            client.send(octets)
            client.close()
        assert smtp_server.client().deliver(inbox.address, b"still here\r\n") == "250 2.0.0 OK"


class TestStalls:
    def test_it_drops_a_client_that_says_nothing(self, start_smtp):
        client = start_smtp(idle_timeout=2).client()
        assert client.reply().startswith("421 4.4.2 ")
        assert client.is_closed()

    def test_it_drops_a_client_that_stalls_within_a_mail_and_stores_nothing(self, start_smtp, inbox):
        server = start_smtp(idle_timeout=2)
        client = server.client()
        client.begin(inbox.address)
        client.send(b"half a mail\r\n")
        assert client.reply().startswith("421 4.4.2 ")
        assert client.is_closed()
        assert server.smtp.budget.held == 0
        assert stored_mails() == []

    def test_it_drops_a_client_whose_mail_takes_too_long_however_it_trickles(self, start_smtp, inbox):
        client = start_smtp(data_timeout=0.3).client()
        client.begin(inbox.address)
        while select.select([client.socket], [], [], 0.02)[0] == []:
            client.send(b".")
        assert client.reply().startswith("421 4.4.2 ")
        assert stored_mails() == []


class TestShares:
    def test_it_leaves_room_for_others_when_one_address_sends_much(self, start_smtp, inbox, monkeypatch):
        monkeypatch.setattr("delivery.inbound.smtp_server._is_local", lambda address: False)
        server = start_smtp(max_queued_octets=400_000)
        first, second = server.client(), server.client()
        first.begin(inbox.address)
        first.send(b"1" * 90_000)
        while server.smtp.budget.held == 0:  # until the server has read so far
            assert second.command("NOOP").startswith("250")
        assert second.deliver(inbox.address, b"2" * 50_000 + b"\r\n").startswith("452 4.3.1 ")
        assert server.smtp.budget_of("192.0.2.1").take(90_000)
        server.smtp.budget_of("192.0.2.1").give_back(90_000)
        first.send(b"\r\n.\r\n")
        assert first.reply() == "250 2.0.0 OK"
        assert server.smtp.budget.held == 0
