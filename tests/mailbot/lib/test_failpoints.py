"""Where a test can end a process, and that nothing happens there otherwise."""

import os
import signal
import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured

from mailbot.lib import failpoints

pytestmark = pytest.mark.one_profile

REACH = "from mailbot.lib.failpoints import failpoint; failpoint('intake.committed', {content!r}); print('went on', flush=True)"


def reach(failpoints: str, content: bytes = b"", times: int = 1) -> subprocess.CompletedProcess[str]:
    """A process that comes to intake.committed `times` times, saying so each time that it went on."""
    environment = {**os.environ, "MAILBOT_FAILPOINTS": failpoints}
    script = "\n".join([REACH.format(content=content)] * times)
    return subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=20,
        start_new_session=True,
    )


def test_it_does_nothing_unless_told():
    done = reach("")
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")
    assert failpoints.failpoint is failpoints._passed


@pytest.mark.parametrize("action", ["kill", "kill-group"])
def test_it_ends_the_process_at_the_point(action):
    done = reach(f"intake.committed={action}")
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")
    assert "made to fail at intake.committed" in done.stderr


def test_it_leaves_other_points_alone():
    assert reach("intake.before-commit=kill").returncode == 0


def test_it_waits_for_the_nth_time():
    done = reach("intake.committed=kill,nth=3", times=4)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "went on\nwent on\n")


def test_it_strikes_only_once_with_a_file_that_says_so(tmp_path):
    setting = f"intake.committed=kill,once={tmp_path / 'struck'}"
    assert [reach(setting).returncode for _ in range(2)] == [-signal.SIGKILL, 0]


def test_it_looks_for_content():
    setting = "intake.committed=kill,content=Poison"
    assert [reach(setting, content).returncode for content in (b"a Poison b", b"poison")] == [-signal.SIGKILL, 0]


@pytest.mark.parametrize(
    "setting",
    ["1", "nowhere=kill", "intake.committed=raise", "intake.committed=kill,when=now", "intake.committed=kill,nth=x"],
)
def test_it_refuses_what_names_no_point_and_action(setting):
    with pytest.raises(ImproperlyConfigured, match="for tests only"):
        failpoints.parse(setting)
