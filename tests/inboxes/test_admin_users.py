"""The console's users, made in the console."""

from audit.models import AuditEntry
from tests.console import PASSWORD, console, list_of, page_of, person


class TestUsers:
    def test_a_superuser_gives_a_user_an_account(self, admin_client, acme, django_user_model):
        user = django_user_model.objects.create_user("newcomer", password=PASSWORD)
        assert admin_client.get(page_of(user)).status_code == 200
        body = {"username": "newcomer", "is_active": "on", "is_staff": "on"}
        rows = {"TOTAL_FORMS": "1", "INITIAL_FORMS": "0", "0-account": acme.pk, "0-user": user.pk, "0-role": "reviewer"}
        answer = admin_client.post(page_of(user), body | {f"memberships-{name}": value for name, value in rows.items()})
        assert answer.status_code == 302
        assert user.memberships.get().role == "reviewer"
        changed = AuditEntry.objects.get(act="user.updated")
        assert changed.actor_name == "admin"
        assert changed.changes["is_staff"] == [False, True]
        assert AuditEntry.objects.get(act="membership.created").account_id == acme.pk

    def test_no_password_reaches_the_trail(self, admin_client, django_user_model):
        user = django_user_model.objects.create_user("newcomer", password=PASSWORD)
        user.set_password("another long password")
        user.save()
        assert user.password not in str(list(AuditEntry.objects.values_list("changes", flat=True)))

    def test_members_do_not_see_users(self, acme):
        user = person("olga", acme)
        assert console(user).get(list_of(user)).status_code == 403
        assert "/admin/auth/user/" not in console(user).get("/admin/").content.decode()

    def test_the_list_and_the_form_answer(self, admin_client):
        assert admin_client.get("/admin/auth/user/").status_code == 200
        assert admin_client.get("/admin/auth/user/add/").status_code == 200
