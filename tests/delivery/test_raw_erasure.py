"""Raw mail that nobody may read any more leaves the object store, whoever is killed meanwhile and whoever is moving it."""

import pytest

from delivery import tasks
from delivery.models import InboundMail, RawObject
from delivery.outbound.send import send_due_mail
from delivery.raw_erasure import remove_leaving
from delivery.raw_mover import move_batch
from inboxes.models import Inbox
from inboxes.provisioning import purge_inbox
from tests.cast import Caller
from tests.delivery.raw_mail import NOW, Killed, die, is_whole, leases_run_out, states
from tests.mailing import deliver, mail
from tests.stores import Store
from threads.models import Message


@pytest.fixture
def inbox(alice: Caller, store: Store) -> Inbox:
    return alice.create_inbox()


class TestErasure:
    def test_it_takes_moved_mail_out_of_the_store(self, alice: Caller, inbox: Inbox, store: Store) -> None:
        deliver(mail(), inbox)
        alice.send(inbox)
        send_due_mail()
        assert move_batch(older_than=NOW).moved == 2
        purge_inbox(inbox)
        assert states() == ["leaving", "leaving"]
        tasks.remove_raw()
        assert (states(), store.names()) == ([], [])
        assert not InboundMail.objects.exists()

    def test_it_leaves_the_mail_of_others(self, alice: Caller, charlie: Caller, store: Store) -> None:
        ours, theirs = alice.create_inbox(), charlie.create_inbox()
        shared, own = mail(Subject="shared"), mail(Subject="own")
        deliver(shared, ours, theirs)
        deliver(own, theirs)
        move_batch(older_than=NOW)
        purge_inbox(ours)
        tasks.remove_raw()
        assert is_whole(charlie, theirs, shared, own)
        InboundMail.objects.all().delete()  # as retention does
        purge_inbox(theirs)
        tasks.remove_raw()
        assert store.names() == []

    def test_it_leaves_shared_mail_whose_row_is_history(self, alice: Caller, charlie: Caller, store: Store) -> None:
        ours, theirs = alice.create_inbox(), charlie.create_inbox()
        content = mail()
        deliver(content, ours, theirs)
        move_batch(older_than=NOW)
        InboundMail.objects.all().delete()
        purge_inbox(ours)
        tasks.remove_raw()
        assert is_whole(charlie, theirs, content)

    def test_it_takes_what_came_again(self, inbox: Inbox, store: Store) -> None:
        content = mail()
        deliver(content, inbox)
        deliver(content, inbox)
        assert move_batch(older_than=NOW).moved == 2
        purge_inbox(inbox)
        tasks.remove_raw()
        assert store.names() == []

    def test_it_goes_on_after_a_kill(self, inbox: Inbox, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """After the commit and before the object is deleted: the card is still there."""
        deliver(mail(), inbox)
        move_batch(older_than=NOW)
        purge_inbox(inbox)
        with monkeypatch.context() as patch:
            patch.setattr("mailbot.lib.object_store.delete", die)
            with pytest.raises(Killed):
                remove_leaving()
        assert len(store.names()) == 1
        assert remove_leaving() == 1
        assert store.names() == []

    def test_it_tries_again_when_the_store_is_down(self, inbox: Inbox, store: Store) -> None:
        deliver(mail(), inbox)
        move_batch(older_than=NOW)
        purge_inbox(inbox)
        store.faults.is_down = True
        assert remove_leaving() == 0
        assert "Connection refused" in RawObject.objects.get().error
        store.faults.is_down = False
        assert remove_leaving() == 0  # not before a pause
        leases_run_out()
        assert remove_leaving() == 1
        assert store.names() == []

    @pytest.mark.parametrize("hook", ["before_save", "after_save"])
    def test_it_wins_over_a_mover(self, alice: Caller, inbox: Inbox, store: Store, hook: str) -> None:
        deliver(mail(), inbox)
        setattr(store.faults, hook, staticmethod(lambda name: (purge_inbox(inbox), remove_leaving())))
        assert move_batch(older_than=NOW).moved == 0
        remove_leaving()
        assert (states(), store.names()) == ([], [])

    def test_it_wins_over_a_mover_that_is_killed(self, inbox: Inbox, store: Store) -> None:
        deliver(mail(), inbox)

        def purge_and_die(name: str) -> None:
            purge_inbox(inbox)
            raise Killed

        store.faults.after_save = staticmethod(purge_and_die)
        with pytest.raises(Killed):
            move_batch(older_than=NOW)
        assert remove_leaving() == 0  # it may still be writing
        leases_run_out()
        assert remove_leaving() == 1
        assert store.names() == []

    def test_it_wins_over_a_mover_that_began_before_it_was_seen(self, inbox: Inbox, store: Store) -> None:
        """The card is written after the erasure looked for cards, and the mover is killed after it wrote."""
        deliver(mail(), inbox)
        store.faults.after_save = staticmethod(die)
        with pytest.raises(Killed):
            move_batch(older_than=NOW)
        Message.objects.all().delete()
        InboundMail.objects.all().delete()
        leases_run_out()
        assert remove_leaving() == 1
        assert store.names() == []

    def test_it_finds_an_object_that_was_written_after_all_was_done(self, inbox: Inbox, store: Store) -> None:
        deliver(mail(), inbox)

        def meanwhile(name: str) -> None:
            purge_inbox(inbox)
            leases_run_out()
            assert remove_leaving() == 1

        store.faults.before_save = staticmethod(meanwhile)
        move_batch(older_than=NOW)
        assert len(store.names()) == 1
        assert remove_leaving() == 1
        assert store.names() == []
