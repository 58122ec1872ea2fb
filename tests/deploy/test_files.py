"""The files of deploy/, held against the project: what they start, what they set and what they copy is there.

No image is built and no unit is started here; what the image would hold is run from a folder of its own.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands

from mailbot.quickstart.processes import procfile_commands
from tests.flows.conftest import free_ports, until
from tests.mailbot.test_configuration_docs import documented

pytestmark = pytest.mark.one_profile
ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
PROCESSES = procfile_commands(ROOT)
CHOSEN = {"MAILBOT_HOST": "0.0.0.0", "MAILBOT_PORT": "8000", "MAILBOT_WORKERS": "2"}
OURS = re.compile(r"\b((?:MAILBOT|DATABASE|REDIS)_[A-Z0-9_]+)\s*[=:]", re.MULTILINE)
# Of compose itself, and of the images of others.
OF_OTHERS = {"MAILBOT_IMAGE"}


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8")))


def unit(path: Path) -> dict[str, dict[str, list[str]]]:
    """Section → name → values, in their order."""

    class Several(dict[str, Any]):
        def __setitem__(self, name: str, value: Any) -> None:
            if isinstance(value, list) and name in self:
                value = self[name] + value
            super().__setitem__(name, value)

    parser = RawConfigParser(
        strict=False, dict_type=Several, delimiters="=", interpolation=None, empty_lines_in_values=False
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path, encoding="utf-8")
    return {name: {key: value.split("\n") for key, value in parser.items(name)} for name in parser.sections()}


def words(command: str | list[str]) -> list[str]:
    """Of a command line, with its variables as CHOSEN says. Of a program's path the name."""
    parts = command if isinstance(command, list) else shlex.split(command.removeprefix("exec "))
    expanded = [re.sub(r"\$\{(\w+)(?::-[^}]*)?\}", lambda found: CHOSEN[found[1]], part) for part in parts]
    return [Path(expanded[0]).name, *expanded[1:]]


def dockerfile() -> str:
    return (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")


def image_instruction(name: str) -> list[str]:
    return re.findall(rf"^\s*{name} (.*)$", dockerfile(), re.MULTILINE)


def image_list(name: str) -> list[str]:
    """The words of the instruction's last line, which is in the form of a list."""
    return list(yaml.safe_load(image_instruction(name)[-1]))


def image_check() -> list[str]:
    return list(yaml.safe_load(image_instruction("HEALTHCHECK")[0].partition(" CMD ")[2]))


class TestCommands:
    @pytest.mark.parametrize("name", PROCESSES)
    def test_compose_starts_what_the_procfile_starts(self, name: str) -> None:
        command = compose()["services"][name].get("command") or image_list("CMD")
        assert words([str(part) for part in command]) == words(PROCESSES[name])

    @pytest.mark.parametrize("name", PROCESSES)
    def test_systemd_starts_what_the_procfile_starts(self, name: str) -> None:
        (command,) = unit(DEPLOY / "systemd" / f"mailbot-{name}.service")["Service"]["ExecStart"]
        assert words(command) == words(PROCESSES[name])

    def test_both_migrate(self) -> None:
        (by_systemd,) = unit(DEPLOY / "systemd" / "mailbot-migrate.service")["Service"]["ExecStart"]
        assert words(compose()["services"]["migrate"]["command"]) == words(by_systemd)
        assert words(by_systemd) == ["python", "manage.py", "migrate", "--no-input"]

    def test_there_is_no_other_unit(self) -> None:
        assert {path.stem for path in UNITS} == {f"mailbot-{name}" for name in (*PROCESSES, "migrate")}
        (wanted,) = unit(DEPLOY / "systemd" / "mailbot.target")["Unit"]["Wants"]
        assert set(wanted.split()) == {f"mailbot-{name}.service" for name in PROCESSES}

    def test_the_manual_names_commands_that_there_are(self) -> None:
        pages = [ROOT / "docs" / "production.md", ROOT / "docs" / "backup.md"]
        named = {name for page in pages for name in re.findall(r"manage\.py (\w+)", page.read_text(encoding="utf-8"))}
        assert {"migrate", "outbox"} <= named
        assert named <= set(get_commands())


class TestVariables:
    @pytest.mark.parametrize(
        "path",
        [DEPLOY / "compose.yaml", DEPLOY / "Dockerfile", DEPLOY / "mailbot.env.example", *UNITS],
        ids=lambda path: path.name,
    )
    def test_they_are_documented(self, path: Path) -> None:
        found = set(OURS.findall(path.read_text(encoding="utf-8"))) - OF_OTHERS
        assert found
        assert {name.removesuffix("_FILE") for name in found} <= documented()

    def test_no_secret_stands_in_them(self) -> None:
        """The value of whatever is named like one is a file elsewhere."""
        for path in (DEPLOY / "compose.yaml", DEPLOY / "Dockerfile", DEPLOY / "mailbot.env.example", *UNITS):
            text = path.read_text(encoding="utf-8")
            named = re.findall(
                r"^\s*#?\s*(?:Environment=)?(\w*(?:SECRET|PASSWORD|KEYS?|DATABASE_URL)\w*)\s*[=:]\s*\S", text, re.M
            )
            assert all(name.endswith("_FILE") or name.islower() for name in named), (path.name, named)

    def test_git_ignores_the_files_that_have_them(self) -> None:
        for name in ("deploy/mailbot.env", "deploy/secrets/secret_key"):
            git = ["git", "-C", str(ROOT), "check-ignore", "--quiet", name]
            assert subprocess.run(git, check=False).returncode == 0


class TestCompose:
    def test_it_has_the_services(self) -> None:
        assert set(compose()["services"]) == {*PROCESSES, "migrate", "postgres", "redis", "s3"}
        assert compose()["services"]["s3"]["profiles"] == ["s3"]

    @pytest.mark.parametrize("name", PROCESSES)
    def test_processes_wait_for_what_they_need(self, name: str) -> None:
        assert {other: need["condition"] for other, need in compose()["services"][name]["depends_on"].items()} == {
            "postgres": "service_healthy",
            "redis": "service_healthy",
            "migrate": "service_completed_successfully",
        }

    def test_what_is_waited_for_says_whether_it_is_healthy(self) -> None:
        services = compose()["services"]
        assert all("test" in services[name]["healthcheck"] for name in ("postgres", "redis", "s3", "smtp", "worker"))
        assert image_instruction("HEALTHCHECK")

    def test_redis_throws_nothing_out_and_writes_nothing(self) -> None:
        command = compose()["services"]["redis"]["command"]
        options = dict(zip(command[1::2], command[2::2], strict=True))
        assert (options["--appendonly"], options["--save"], options["--maxmemory-policy"]) == ("no", "", "noeviction")

    def test_volumes_and_secrets_that_are_used_are_declared(self) -> None:
        file = compose()
        for service in file["services"].values():
            assert {volume.partition(":")[0] for volume in service.get("volumes", [])} <= set(file["volumes"])
            assert set(service.get("secrets", [])) <= set(file["secrets"])
            for name, value in (service.get("environment") or {}).items():
                if name.endswith("_FILE"):
                    assert value.removeprefix("/run/secrets/") in service["secrets"]


class TestSystemd:
    @pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
    def test_systemd_understands_them(self, tmp_path: Path) -> None:
        for path in (DEPLOY / "systemd").iterdir():
            text = path.read_text(encoding="utf-8").replace("/opt/mailbot/.venv/bin", str(Path(sys.executable).parent))
            (tmp_path / path.name).write_text(text.replace("/opt/mailbot", str(ROOT)), encoding="utf-8")
        command = ["systemd-analyze", "verify", *map(str, tmp_path.iterdir())]
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
        assert (said.returncode, said.stdout + said.stderr) == (0, "")

    @pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
    def test_they_are_shut_in(self, path: Path) -> None:
        service = unit(path)["Service"]
        assert service["User"] == ["mailbot"]
        assert service["EnvironmentFile"] == ["/etc/mailbot/mailbot.env"]
        hardened = ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome", "RestrictNamespaces")
        assert all(service[name] == ["yes"] for name in hardened)
        assert service["ProtectSystem"] == ["strict"]
        may_bind = ["CAP_NET_BIND_SERVICE"] if path.stem == "mailbot-smtp" else [""]
        assert service["CapabilityBoundingSet"] == may_bind

    @pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
    def test_credentials_that_are_named_are_loaded(self, path: Path) -> None:
        service = unit(path)["Service"]
        loaded = {line.partition(":")[0] for line in service["LoadCredential"]}
        assert loaded == set(re.findall(r"%d/(\w+)", " ".join(service["Environment"])))


def copied() -> list[str]:
    """What the last stage of the image takes from the checkout."""
    lines = [line.split() for line in image_instruction("COPY") if not line.startswith("--from")]
    return [source for *sources, target in lines for source in sources if target.startswith("./")]


class TestImage:
    def test_it_copies_what_docker_may_see(self) -> None:
        rules = [
            line
            for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
            if line[:1] not in ("", "#")
        ]
        assert rules[0] == "*"
        shown = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
        assert {*copied(), "requirements.txt"} == shown
        hidden = ("var", ".env", ".git", "deploy", "tests", ".venv")
        assert not any(fnmatch(name, rule) for name in hidden for rule in shown)

    def test_it_does_not_run_as_root(self) -> None:
        assert image_instruction("USER") == ["mailbot"]

    def test_its_python_is_one_that_mailbot_runs_on(self) -> None:
        found = re.findall(r"^FROM python:3\.(\d+)-slim", dockerfile(), re.MULTILINE)
        assert len(found) == 2
        assert len(set(found)) == 1
        assert int(found[0]) >= 11

    @pytest.mark.flows
    @pytest.mark.timeout(180)
    def test_what_it_holds_is_enough(self, image: Path, tmp_path: Path) -> None:
        """Migrates, serves, and is found healthy by the image's own check, also where other hosts only are allowed."""
        environment = self._environment(tmp_path / "var")
        manage = [sys.executable, "manage.py"]
        for command in ([*manage, "check"], [*manage, "migrate", "--no-input", "--verbosity=0"]):
            done = subprocess.run(command, cwd=image, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        port = str(free_ports(1)[0])
        command = [word.replace("0.0.0.0", "127.0.0.1").replace("8000", port) for word in image_list("CMD")]
        check = [word.replace("8000", port) for word in image_check()]
        web = subprocess.Popen([sys.executable, "-m", *command], cwd=image, env=environment)
        try:
            until(lambda: subprocess.run(check, env=environment, capture_output=True).returncode == 0, "healthy")
        finally:
            web.terminate()
            web.wait(20)

    @pytest.fixture
    def image(self, tmp_path: Path) -> Path:
        folder = tmp_path / "image"
        folder.mkdir()
        for name in copied():
            place = ROOT / name
            if place.is_dir():
                shutil.copytree(place, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            else:
                shutil.copy(place, folder / name)
        return folder

    @staticmethod
    def _environment(var: Path) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("MAILBOT_", "DJANGO_", "PYTEST"))
        }
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        database = {"DATABASE_URL": "", "REDIS_URL": ""}  # what it holds is the same on both profiles
        return {
            **kept,
            **database,
            "PATH": path,
            "MAILBOT_VAR": str(var),
            "MAILBOT_ALLOWED_HOSTS": "mailbot.example.com",
        }


def test_the_settings_have_no_app_that_the_image_lacks() -> None:
    ours = {app.partition(".")[0] for app in settings.INSTALLED_APPS} & {path.name for path in ROOT.iterdir()}
    assert ours <= set(copied())
