"""Reading the environment"""

from pathlib import Path

from mailbot.lib.env import kept_secret


class TestKeptSecret:
    def test_it_is_kept_where_nobody_else_looks(self, tmp_path: Path) -> None:
        file = tmp_path / "var" / "secret.key"
        secret = kept_secret("MAILBOT_NO_SUCH_VARIABLE", file)
        assert secret == kept_secret("MAILBOT_NO_SUCH_VARIABLE", file)
        assert [path.stat().st_mode & 0o777 for path in (file, file.parent)] == [0o600, 0o700]
