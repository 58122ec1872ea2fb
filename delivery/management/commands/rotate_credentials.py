"""manage.py rotate_credentials: encrypt what is kept encrypted with the newest key, so that an old one can be taken out."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from delivery.credentials import rotate_credentials, suppressions_of_old_keys


class Command(BaseCommand):
    help = (
        "Encrypts the credentials of all providers and the DKIM keys of all domains with the first of MAILBOT_ENCRYPTION_KEYS. Safe to"
        " repeat and to stop; afterwards the other keys can be taken out, unless it says that suppressions need one."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        done, failed = 0, []
        for row, is_rotated in rotate_credentials():
            done += is_rotated
            if not is_rotated:
                failed.append(row)
                self.stderr.write(f"{row.pk} ({row}): none of the keys decrypts it.")
            elif done % 100 == 0:
                self.stdout.write(f"{done} …")
        self.stdout.write(
            f"{done} providers and DKIM keys are encrypted with the newest key; {len(failed)} could not be read."
        )
        if number := suppressions_of_old_keys():
            self.stderr.write(
                f"{number} suppressions of erased persons are found by an older key. Keep it, behind the newest one: without it mail would"
                " go to them again (docs/erasure.md)."
            )
        if failed:
            raise CommandError(
                "Keep the old keys, add the missing one and run it again, or enter those credentials anew, and rotate those keys."
            )
