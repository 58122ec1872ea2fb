import errno
import socket

import pytest
from django.core.management import CommandError, call_command


class TestStart:
    @pytest.mark.parametrize("processes", [1, 2])
    def test_it_says_in_one_line_that_the_port_is_taken(self, processes):
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with pytest.raises(CommandError, match=f"Port {port} of 127.0.0.1 is taken") as caught:
                call_command("smtp", port=port, processes=processes)
        assert "\n" not in str(caught.value)

    def test_it_says_that_a_port_needs_more_rights(self, monkeypatch):
        class Unprivileged(socket.socket):
            def bind(self, address):
                raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr("delivery.management.commands.smtp.socket.socket", Unprivileged)
        with pytest.raises(CommandError, match="Port 25 needs more rights"):
            call_command("smtp", port=25)

    def test_it_says_that_an_address_is_not_ours(self):
        with pytest.raises(CommandError, match=r"^Cannot listen at 192\.0\.2\.1:0: "):
            call_command("smtp", host="192.0.2.1", port=0)

    def test_it_says_that_the_certificate_cannot_be_used(self, settings, tmp_path):
        settings.SMTP_TLS_CERTIFICATE = settings.SMTP_TLS_KEY = str(tmp_path / "missing.pem")
        with pytest.raises(CommandError, match=r"missing\.pem cannot be used"):
            call_command("smtp", port=0)

    def test_it_wants_at_least_one_process(self):
        with pytest.raises(CommandError, match="--processes must be at least 1"):
            call_command("smtp", processes=0)
