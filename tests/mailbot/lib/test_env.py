"""Reading the environment"""

from decimal import Decimal
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from mailbot.lib.env import kept_secret, numbers, percent, rate


class TestKeptSecret:
    def test_it_is_kept_where_nobody_else_looks(self, tmp_path: Path) -> None:
        file = tmp_path / "var" / "secret.key"
        secret = kept_secret("MAILBOT_NO_SUCH_VARIABLE", file)
        assert secret == kept_secret("MAILBOT_NO_SUCH_VARIABLE", file)
        assert [path.stat().st_mode & 0o777 for path in (file, file.parent)] == [0o600, 0o700]


class TestNumbers:
    def test_it_reads_a_list(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert numbers("MAILBOT_NO_SUCH_VARIABLE", [2, 30]) == [2, 30]
        monkeypatch.setenv("MAILBOT_PAUSES", "1, 5")
        assert numbers("MAILBOT_PAUSES", [2, 30]) == [1, 5]

    @pytest.mark.parametrize("value", ["0", "1,x", "-1", "1.5"])
    def test_it_refuses_what_is_none(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv("MAILBOT_PAUSES", value)
        with pytest.raises(ImproperlyConfigured, match="MAILBOT_PAUSES"):
            numbers("MAILBOT_PAUSES", [], minimum=1)


class TestRate:
    def test_it_reads_a_percentage_or_that_there_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert percent("PERCENT", "0.1") == Decimal("0.1")
        monkeypatch.setenv("PERCENT", "off")
        assert percent("PERCENT", "5") is None
        for wrong in ("101", "-1", "0.0", "5 %", "nan", "1e1"):
            monkeypatch.setenv("PERCENT", wrong)
            with pytest.raises(ImproperlyConfigured):
                percent("PERCENT", "5")

    def test_it_reads_a_rate_or_that_there_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert str(rate("MAILBOT_NO_SUCH_VARIABLE", "600/minute")) == "600/minute"
        for value, read in (("5/Second", "5/second"), ("off", "None"), ("0", "None"), ("", "600/minute")):
            monkeypatch.setenv("MAILBOT_PACE", value)
            assert str(rate("MAILBOT_PACE", "600/minute")) == read

    @pytest.mark.parametrize("value", ["600", "fast", "0/minute", "-1/minute"])
    def test_it_refuses_what_is_none(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv("MAILBOT_PACE", value)
        with pytest.raises(ImproperlyConfigured, match="MAILBOT_PACE"):
            rate("MAILBOT_PACE", "600/minute")
