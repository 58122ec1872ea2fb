"""manage.py rotate_credentials, and what is said of keys that are missing."""

from io import StringIO
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command

from inboxes.models import Account, Provider
from tests.console import console, page_of, person


@pytest.fixture
def provider(acme: Account, settings: Any) -> Provider:
    settings.ENCRYPTION_KEYS = ["old"]
    provider = Provider(account=acme, name="Postmark", esp="postmark")
    provider.credentials = {"server_token": "secret"}
    provider.save()
    return provider


def rotate() -> str:
    output = StringIO()
    call_command("rotate_credentials", stdout=output, stderr=output)
    return output.getvalue()


class TestRotating:
    def test_it_makes_the_old_key_superfluous(self, provider: Provider, settings: Any) -> None:
        settings.ENCRYPTION_KEYS = ["new", "old"]
        for _ in range(2):
            assert "1 providers and DKIM keys are encrypted with the newest key; 0 could not be read." in rotate()
        settings.ENCRYPTION_KEYS = ["new"]
        assert Provider.objects.get(pk=provider.pk).credentials == {"server_token": "secret"}

    def test_it_names_what_no_key_decrypts_and_leaves_it(self, provider: Provider, settings: Any) -> None:
        settings.ENCRYPTION_KEYS = ["another"]
        with pytest.raises(CommandError, match="add the missing one"):
            rotate()
        assert Provider.objects.get(pk=provider.pk).sealed == provider.sealed


class TestChecks:
    def test_it_refuses_to_start_without_a_key(self, db: None, settings: Any) -> None:
        settings.ENCRYPTION_KEYS = [""]
        (found,) = [message for message in run_checks() if message.id == "mailbot.E004"]
        assert "MAILBOT_ENCRYPTION_KEY" in str(found.hint)

    def test_it_warns_of_credentials_that_cannot_be_read(self, provider: Provider, settings: Any) -> None:
        assert not [message for message in run_checks(databases=["default"]) if message.id == "mailbot.W001"]
        settings.ENCRYPTION_KEYS = ["another"]
        (found,) = [message for message in run_checks(databases=["default"]) if message.id == "mailbot.W001"]
        assert provider.pk in found.msg

    def test_the_console_says_so_on_the_page_of_the_provider(self, provider: Provider, settings: Any) -> None:
        browser = console(person("ann", provider.account, "owner"))
        assert "cannot be decrypted" not in browser.get(page_of(provider)).content.decode()
        settings.ENCRYPTION_KEYS = ["another"]
        assert "cannot be decrypted" in browser.get(page_of(provider)).content.decode()
