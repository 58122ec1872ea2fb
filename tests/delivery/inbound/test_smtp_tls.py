import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from delivery.inbound.smtp_server import tls_context
from delivery.models import InboundMail
from tests.delivery.inbound.conftest import Client, stored_mails


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    folder = tmp_path_factory.mktemp("certificate")
    options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=mailbot.localhost"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(["openssl", *options.split(), *files], check=True, capture_output=True)
    return folder / "certificate.pem", folder / "key.pem"


@pytest.fixture
def server(start_smtp, settings, certificate):
    settings.SMTP_TLS_CERTIFICATE, settings.SMTP_TLS_KEY = map(str, certificate)
    return start_smtp(tls_context=tls_context())


def secure(client: Client) -> None:
    """The client's side of the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client.lines.close()
    client.socket = context.wrap_socket(client.socket)
    client.lines = client.socket.makefile("rb")


class TestStartTLS:
    def test_it_is_offered_once_and_starts_the_session_anew(self, server):
        client = server.client(greet=False)
        assert "STARTTLS" in client.command("EHLO client.example")
        assert client.command("MAIL FROM:<>").startswith("250")
        assert client.command("STARTTLS").startswith("220 2.0.0 ")
        secure(client)
        assert client.command("MAIL FROM:<>").startswith("503 ")
        assert "STARTTLS" not in client.command("EHLO client.example")
        assert client.command("RCPT TO:<a@mailbot.localhost>").startswith("503 ")
        assert client.command("STARTTLS").startswith("502 ")

    def test_it_takes_mail_of_any_size_inside(self, server, inbox):
        client = server.client()
        client.command("STARTTLS")
        secure(client)
        client.command("EHLO client.example")
        mails = [b"small\r\n", b"x" * 99_000 + b"\r\n", b"small again\r\n"]
        assert [client.deliver(inbox.address, mail) for mail in mails] == ["250 2.0.0 OK"] * 3
        assert stored_mails() == mails
        assert {row.tls for row in InboundMail.objects.all()} == {True}
        assert client.command("QUIT").startswith("221 ")

    def test_it_throws_away_what_came_in_clear_behind_the_command(self, server):
        client = server.client()
        client.send(b"STARTTLS\r\nEHLO attacker.example\r\nMAIL FROM:<attacker@example.com>\r\n")
        assert client.reply().startswith("220 ")
        secure(client)
        assert client.command("RCPT TO:<a@mailbot.localhost>").startswith("503 ")
        assert client.command("EHLO client.example").startswith("250-")
        assert client.command("NOOP") == "250 2.0.0 OK"

    def test_it_is_not_impressed_by_a_flood_behind_the_command(self, server, inbox):
        client = server.client()
        client.send(b"STARTTLS\r\n" + b"NOOP\r\n" * 100_000)
        assert client.reply().startswith("220 ")
        assert client.is_closed()  # what it reads after the command is no handshake
        assert server.client().deliver(inbox.address, b"others go on\r\n") == "250 2.0.0 OK"

    def test_it_hangs_up_on_a_handshake_that_is_none(self, server, inbox):
        client = server.client()
        client.command("STARTTLS")
        client.send(b"MAIL FROM:<attacker@example.com>\r\n" * 10)
        assert client.is_closed()
        assert server.client().deliver(inbox.address, b"others go on\r\n") == "250 2.0.0 OK"
