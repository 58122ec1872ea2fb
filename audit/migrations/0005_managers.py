from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("audit", "0004_order_of_the_trail")]

    operations = [
        migrations.AlterModelOptions(
            name="auditentry",
            options={
                "base_manager_name": "objects",
                "get_latest_by": "timestamp",
                "ordering": ["-id"],
                "verbose_name": "audit entry",
                "verbose_name_plural": "audit entries",
            },
        ),
    ]
