"""The settings of the test run: mailbot's own, on the profile that DATABASE_URL and REDIS_URL choose, quick and kept apart.

Nothing here changes what mailbot does. What a developer has set for a server of their own must not change what a test
sees, so every MAILBOT_… variable is put aside first; files go to a temporary folder.
"""

import atexit
import os
import shutil
import tempfile

FOR_TESTS = {"MAILBOT_CORPUS", "MAILBOT_KILLS", "MAILBOT_SEED"}  # of make faults and make soak
for name in [name for name in os.environ if name.startswith("MAILBOT_") and name not in FOR_TESTS]:
    del os.environ[name]
os.environ["MAILBOT_VAR"] = tempfile.mkdtemp(prefix="mailbot-tests-")
atexit.register(shutil.rmtree, os.environ["MAILBOT_VAR"], ignore_errors=True)

os.environ["MAILBOT_METRICS_TOKEN"] = "token-of-the-tests"
from mailbot.settings import *  # noqa: E402, F403
from mailbot.settings import DATABASES, SQLITE  # noqa: E402

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # PBKDF2 takes 0.3 s a user

# A test asks what is committed, not whether it outlives a power cut: tests/flows runs the real settings.
SQLITE["OPTIONS"]["init_command"] = SQLITE["OPTIONS"]["init_command"].replace("synchronous=FULL", "synchronous=OFF")  # type: ignore[index]

if DATABASES["default"] is not SQLITE:
    # Two runs on one server must not drop each other's database; pytest-django adds the xdist worker.
    RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")[:8] or str(os.getpid())
    DATABASES["default"]["TEST"] = {"NAME": f"test_mailbot_{RUN}"}

# A test that is about something else must not be told to slow down; those about limits set their own.
RATE_LIMIT_KEY = RATE_LIMIT_ACCOUNT = RATE_LIMIT_BAD_KEYS = None

# What providers do in a test is seen by its own thread alone, whose transaction is not committed; tests about threads set their own.
SEND_THREADS = 0

# No test asks the DNS of the machine that it runs on; those about authentication set a time, and a zone file.
AUTHENTICATION_SECONDS = 0
