"""The work of an erasure, in turns: batches of one transaction each, after any of which it may be stopped and goes on.

planned → running → done | failed | refused (a legal hold)

A round goes through all steps. What comes in meanwhile, a mail, an event, an entry, is found by the next round; the last one is the one
that finds nothing. Then an entry says that it is finished, and the certificate is signed over the head that has this entry.
"""

import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from audit.actors import acting_for_request
from audit.exports import expire_exports, has_octets, withdraw_exports
from audit.record import Act, record
from audit.sealing import seal_all
from audit.signing import KeyRefused
from delivery.erasing.certificate import certificate_of, kept_rules_of
from delivery.erasing.finding import Place, inboxes_of_mail, messages_of, waits_for_mail
from delivery.erasing.mail import (
    erase_inbound,
    erase_messages,
    is_leaving,
    next_inbound,
    next_messages,
    note_erased,
    take_over,
    unfinished_of,
)
from delivery.erasing.person import Person
from delivery.erasing.planning import WHOLE_ACCOUNT, asked_of_holds, entries_of
from delivery.erasing.records import next_rows
from delivery.erasing.suppressed import hash_suppressions, suppressions_of
from delivery.erasing.trail import SERVER, find_next, replace
from delivery.models import ErasedObject, Erasure
from delivery.raw_erasure import remove_leaving
from inboxes.holds import Held, held_among, keep_out_holds
from mailbot.lib.crypto import CannotDecrypt
from mailbot.lib.failpoints import failpoint
from mailbot.lib.object_store import StoreUnavailable
from threads.attachments import remove_unneeded

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=120)
AGAIN_AFTER = timedelta(seconds=20)
MOST_ATTEMPTS = 10  # in a row without a batch
MOST_ROUNDS = 50  # then it waits a little
UNFINISHED = (Erasure.State.PLANNED, Erasure.State.RUNNING)
FIRST = "mail"


class TurnOver(Exception):
    """Others have a turn."""


class NotYet(Exception):
    """Something has to end first that is not ours. The message says what."""


class LeaseLost(Exception):
    """Another worker has it."""


def run_erasures(seconds: float) -> bool:
    """Have a turn at one that waits. Whether there is more to do at once."""
    erasure = _claimed()
    if erasure is None:
        return False
    with acting_for_request(erasure.request_id):
        return _Work(erasure).have_a_turn(time.monotonic() + seconds)


def _claimed() -> Erasure | None:
    now, lease = timezone.now(), secrets.token_hex(16)
    free = Erasure.objects.filter(Q(lease_until=None) | Q(lease_until__lte=now), state__in=UNFINISHED)
    for erasure in free.order_by(F("lease_until").asc(nulls_first=True), "pk")[:10]:
        columns: dict[str, Any] = {"state": Erasure.State.RUNNING, "lease": lease, "lease_until": now + LEASE}
        if erasure.started_at is None:
            columns |= {"started_at": now, "step": FIRST}
        if free.filter(pk=erasure.pk).update(**columns):
            return Erasure.objects.get(pk=erasure.pk)
    return None


class _Work:
    def __init__(self, erasure: Erasure) -> None:
        self.erasure = erasure
        self.steps: dict[str, Callable[[], bool]] = {
            FIRST: self._mail,
            "inbound": self._inbound,
            "suppressions": self._suppressions,
            "rows": self._rows,
            "trail": self._trail,
            "server_trail": self._server_trail,
            "exports": self._exports,
            "store": self._store,
            "end": self._end,
        }
        self.until = 0.0

    def have_a_turn(self, until: float) -> bool:
        """Whether there is more to do at once."""
        self.until = until
        try:
            self.person = Person(self.erasure.account_id, self.erasure.address, self.erasure.person)
            self._run()
        except TurnOver:
            self._let_go(timezone.now())
            return True
        except LeaseLost:
            log.warning("The erasure %s was taken over by another worker.", self.erasure.pk)
        except Held as held:
            held.stay()
            self._give_up(Erasure.State.REFUSED, Act.ERASURE_REFUSED, str(held))
        except CannotDecrypt as error:
            self._give_up(Erasure.State.FAILED, Act.ERASURE_FAILED, str(error))
        except NotYet as why:
            self._let_go(timezone.now() + AGAIN_AFTER, error=str(why))
        except (StoreUnavailable, KeyRefused) as error:
            self._try_later(str(error))
        except Exception as error:
            log.exception("The erasure %s cannot go on.", self.erasure.pk)
            self._try_later(type(error).__name__)
        return False

    def _run(self) -> None:
        if not self.erasure.total:
            take_over(self.erasure)
            self._count()
        self._delete_files()
        if (self.erasure.step, self.erasure.place) == (FIRST, ""):
            self._hold()
            self._refuse_if_held(
                asked_of_holds(self.person)
            )  # before anything goes; each batch asks of what it touches
        while self.erasure.state == Erasure.State.RUNNING:
            self._refuse_if_held([WHOLE_ACCOUNT])
            while self.steps[self.erasure.step]():
                self._between_batches()
            self._go_on()

    def _between_batches(self) -> None:
        failpoint("erasure.batch")
        self._delete_files()
        if time.monotonic() > self.until:
            raise TurnOver

    def _go_on(self) -> None:
        """To the next step, or to the first of another round."""
        if self.erasure.state != Erasure.State.RUNNING:
            return
        names = list(self.steps)
        following = names[names.index(self.erasure.step) + 1]
        if following == "end" and self.erasure.has_found:
            rounds = self.erasure.rounds + 1
            self._save(step=FIRST, place="", has_found=False, rounds=rounds)
            if rounds % MOST_ROUNDS == 0:
                raise NotYet("New data of the person comes in all the time.")
        else:
            self._save(step=following, place="")
        if time.monotonic() > self.until:
            raise TurnOver

    # --- Steps: each does one batch, and says whether there may be another ---

    def _mail(self) -> bool:
        messages = next_messages(self.person, Place.read(self.erasure.place))
        if not messages:
            return False
        shared = inboxes_of_mail(self.person, (message.source_id for message in messages))
        with self._batch():
            self._touch({messages[0].inbox_id, *shared})
            counted = erase_messages(self.erasure, self.person, messages)
            place = str(Place(messages[-1].inbox_id, messages[-1].sequence))
            self._note(counted, done=len(messages), place=place, files=self.erasure.files)
        return True

    def _inbound(self) -> bool:
        found = next_inbound(self.person, self.erasure.place)
        if not found:
            return False
        with self._batch():
            self._touch(set().union(*found.values()))
            self._note(erase_inbound(self.erasure, list(found)), place=next(reversed(found)))
        return True

    def _suppressions(self) -> bool:
        with self._batch():
            self._touch({entry.inbox_id for entry in suppressions_of(self.person) if entry.inbox_id})
            self._note(Counter(suppressions=hash_suppressions(self.person)))
        return False

    def _rows(self) -> bool:
        batch = next_rows(self.erasure, self.person)
        if batch is None:
            return False
        with self._batch():
            self._touch(batch.inbox_ids)
            self._note(batch.run())
        return True

    def _trail(self) -> bool:
        return self._replace(self.erasure.account_id)

    def _server_trail(self) -> bool:
        return self._replace(SERVER)

    def _replace(self, account_id: str) -> bool:
        if not self.erasure.place:
            seal_all()
        with self._batch():
            found = find_next(self.erasure.pk, self.person, account_id, int(self.erasure.place or -1))
            if found is None:
                return False
            self._touch(found.inbox_ids)
            replace(self.erasure, self.person, account_id, found)
            self._note(Counter(audit_entries=len(found.values)), done=len(found.values), place=str(found.seq))
        return True

    def _exports(self) -> bool:
        erased = ErasedObject.objects.filter(erasure_id=self.erasure.pk, object_id__startswith="inbox_")
        inboxes = list(erased.values_list("object_id", flat=True))
        begun = unfinished_of(self.erasure.account_id, self.erasure.person)
        if not any(one.counts for one in [self.erasure, *begun]):
            return False
        with self._batch():
            self._touch(inboxes)
            withdrawn = withdraw_exports(self.erasure.account_id, inboxes, {"erasure": self.erasure.pk})
            self._note(Counter(withdrawn_exports=withdrawn))
        return False

    def _store(self) -> bool:
        """What leaves the store by sweeps of their own is waited for, so that the certificate says nothing that is not so yet."""
        expire_exports()
        while is_leaving(self.erasure) and remove_leaving():
            pass
        if is_leaving(self.erasure) or has_octets(self.erasure.account_id):
            raise NotYet("The object store still has something that is to go.")
        if waits_for_mail(self.person):
            self._save(has_found=True)  # another round looks for what became of it
            raise NotYet("Mail of the person is still to be processed.")
        return False

    def _end(self) -> bool:
        if self.erasure.finished_at is None:
            with transaction.atomic():
                self._hold()
                counts = dict(self.erasure.counts)
                changes = {"reason": self.erasure.reason, "erased": counts, "asked_by": self.erasure.actor_name}
                record(Act.ERASURE_FINISHED, self.erasure, account_id=self.erasure.account_id, changes=changes)
                self._save(finished_at=timezone.now())
        failpoint("erasure.finished")
        seal_all()
        kept = kept_rules_of(self.erasure.account_id, self.person.address)
        certificate = certificate_of(self.erasure, kept)
        over = {"state": Erasure.State.DONE, "total": self.erasure.done, "sealed": "", "error": "", "lease": ""}
        self._save(certificate=certificate, **over)
        return False

    # --- A batch ---

    @contextmanager
    def _batch(self) -> Iterator[None]:
        """Its transaction: meanwhile no hold is placed. See `_touch`."""
        with transaction.atomic():
            keep_out_holds([self.erasure.account_id])
            self._hold()
            yield

    def _touch(self, inbox_ids: Collection[str]) -> None:
        """In a batch, before anything of these inboxes, or of none, is changed in it. Raises Held."""
        self._refuse_if_held([*inbox_ids, WHOLE_ACCOUNT])
        note_erased(self.erasure, inbox_ids)

    def _refuse_if_held(self, inbox_ids: Iterable[str]) -> None:
        held = held_among(self.erasure.account_id, inbox_ids)
        if held:
            raise Held(self.erasure.account_id, f"erase {self.person.pseudonym}", held)

    # --- The row ---

    def _count(self) -> None:
        ids = [message.pk for message in messages_of(self.person)]
        self._save(total=max(1, len(ids) + entries_of(self.person, ids)), files=self.erasure.files)

    def _hold(self) -> None:
        self._save(lease_until=timezone.now() + LEASE)

    def _save(self, **columns: Any) -> None:
        """Where the lease is still ours."""
        rows = Erasure.objects.filter(pk=self.erasure.pk, lease=self.erasure.lease, state=Erasure.State.RUNNING)
        if not rows.update(**columns):
            raise LeaseLost
        for name, value in columns.items():
            setattr(self.erasure, name, value)

    def _note(self, counted: Counter[str], *, done: int = 0, **columns: Any) -> None:
        """What a batch came to, in its transaction."""
        if +counted:
            counts = dict(Counter(self.erasure.counts) + counted)
            columns |= {"counts": counts, "has_found": True, "done": self.erasure.done + done, "attempts": 0}
        if columns:
            self._save(**columns)

    def _delete_files(self) -> None:
        if not self.erasure.files:
            return
        for error in remove_unneeded(self.erasure.files).values():
            raise error
        self._save(files=[], lease_until=timezone.now() + LEASE)

    def _let_go(self, again: Any, **columns: Any) -> None:
        rows = Erasure.objects.filter(pk=self.erasure.pk, lease=self.erasure.lease, state=Erasure.State.RUNNING)
        rows.update(lease="", lease_until=again, **columns)

    def _try_later(self, why: str) -> None:
        attempts = Erasure.objects.filter(pk=self.erasure.pk).values_list("attempts", flat=True).get() + 1
        if attempts >= MOST_ATTEMPTS:
            self._give_up(Erasure.State.FAILED, Act.ERASURE_FAILED, why)
        else:
            self._let_go(timezone.now() + AGAIN_AFTER * attempts, attempts=attempts, error=why[:500])

    def _give_up(self, state: str, act: Act, why: str) -> None:
        """The address is not kept for longer than it is needed; who asks again gives it again."""
        mine = Erasure.objects.filter(pk=self.erasure.pk, lease=self.erasure.lease, state=Erasure.State.RUNNING)
        why = self.person.without(why)[:500] if hasattr(self, "person") else why[:500]
        with transaction.atomic():
            if mine.update(state=state, sealed="", error=why, finished_at=timezone.now(), lease=""):
                counts = dict(Erasure.objects.values_list("counts", flat=True).get(pk=self.erasure.pk))
                changes = {"error": why, "erased": counts}
                record(act, self.erasure, account_id=self.erasure.account_id, changes=changes)
