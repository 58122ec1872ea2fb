import secrets
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from audit.actors import acting_as_system
from audit.rotation import RotationRefused, rotate, write_key_file


class Command(BaseCommand):
    help = (
        "Put another key in use that signs the heads of the audit log. Where it is kept in a file, one is made and the file rewritten;"
        " otherwise put the new one before the old in MAILBOT_AUDIT_KEYS first. Restart the workers afterwards."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--lost", action="store_true", help="The key in use is lost: nobody endorses the new one.")

    def handle(self, *args: Any, **options: Any) -> None:
        old = list(settings.AUDIT_KEYS)
        makes_one = settings.AUDIT_KEY_IS_IN_FILE and not options["lost"]
        keys = [secrets.token_urlsafe(48), *old] if makes_one else old
        if makes_one:  # before it is in use: a key that is lost endorses nobody
            write_key_file(settings.AUDIT_KEY_FILE, keys)
        try:
            with acting_as_system("rotate_audit_key"):
                key = rotate(keys, lost=options["lost"])
        except RotationRefused as refusal:
            if makes_one:
                write_key_file(settings.AUDIT_KEY_FILE, old)
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"The audit log is signed with {key.key_id} from now on. Restart the workers.")
        self.stdout.write(f"Its public key, to keep elsewhere: {bytes(key.public_key).hex()}")
