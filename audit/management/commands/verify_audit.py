from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.actors import acting_as_system
from audit.anchors import anchor_file, heads_in, places
from audit.findings import Finding, OutsideHead, Verdict
from audit.models import AuditAnchor
from audit.sealing import seal_all
from audit.signing import KeyRefused
from audit.verifying import accounts, gone_unsealed, key_of_another, verify


class Command(BaseCommand):
    help = (
        "Say whether the audit log is what was sealed, and if not, name the first entry that is changed, missing, added or moved."
        " Exit code 1: it is not. Changes nothing, unless --seal is given."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", help='Of this account only; "server" is what belongs to no account.')
        parser.add_argument(
            "--heads", action="append", default=[], type=Path, metavar="FILE", help="Hold it against these heads."
        )
        parser.add_argument("--seal", action="store_true", help="Seal first what was not sealed yet.")

    def handle(self, *args: Any, **options: Any) -> None:
        with acting_as_system("verify_audit"):
            if options["seal"]:
                self._seal()
            outside, beside = _outside(options["heads"])
            wanted = _wanted(options["account"], outside)
            verdicts = [verify(account_id, outside=outside) for account_id in wanted]
            beside += gone_unsealed() + key_of_another()
        for verdict in verdicts:
            self._show(verdict)
        self._show_findings(beside)
        self._show_anchors()
        if bad := [one for one in verdicts if not one.holds]:
            raise CommandError(
                f"{len(bad)} of {len(verdicts)} trails {'is' if len(bad) == 1 else 'are'} not as sealed."
            )
        if beside:
            raise CommandError(beside[0].what)

    def _seal(self) -> None:
        try:
            seal_all()
        except KeyRefused as refusal:
            raise CommandError(str(refusal)) from refusal

    def _show(self, verdict: Verdict) -> None:
        name = verdict.account_id or "server"
        parts = [f"{verdict.size} entries"]
        parts += [
            f"{number} {what}" for what in ("removed", "replaced", "unsealed") if (number := getattr(verdict, what))
        ]
        head = f", head {verdict.root.hex()[:16]}… of {verdict.head.time:%Y-%m-%d %H:%M:%S} UTC" if verdict.head else ""
        self.stdout.write(f"{'holds' if verdict.holds else 'BAD':<6} {name}: {', '.join(parts)}{head}")
        self._show_findings(verdict.findings)

    def _show_findings(self, findings: list[Finding]) -> None:
        for one in findings:
            where = f" {one.seq}" if one.seq is not None else ""
            self.stdout.write(f"       {one.kind}{where}{f' ({one.id})' if one.id else ''}: {one.what}")

    def _show_anchors(self) -> None:
        states = {state.place: state for state in AuditAnchor.objects.all()}
        for place in places():
            state = states.get(place)
            told = f"told {state.posted_at:%Y-%m-%d %H:%M:%S} UTC" if state and state.posted_at else "not told yet"
            trouble = f"; failed {state.failures} times since: {state.error}" if state and state.failures else ""
            self.stdout.write(f"anchor {place}: {told}{trouble}")


def _outside(given: list[Path]) -> tuple[list[OutsideHead], list[Finding]]:
    """The heads of these files and of our own, and what there is to say of the files."""
    heads: list[OutsideHead] = []
    findings: list[Finding] = []
    for path in _files(given):
        try:
            found, wrong = heads_in(path)
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}") from error
        heads += found
        findings += wrong
    return heads, findings


def _files(given: list[Path]) -> list[Path]:
    """Those that are named, and our own."""
    own = anchor_file()
    return [*given, own] if own is not None and own.exists() else given


def _wanted(account: str | None, outside: list[OutsideHead]) -> list[str]:
    if account is None:
        return sorted({*accounts(), *(head.account_id for head in outside)})
    return ["" if account == "server" else account]
