"""All settings of mailbot, in one file. Without any configuration it is the embedded profile: SQLite and a folder under `var/`.

Production differs by DATABASE_URL and REDIS_URL. Every name is described in docs/configuration.md.
"""

import re
from pathlib import Path
from typing import Any

import dj_database_url
import django_stubs_ext
from celery.schedules import schedule

from mailbot.lib import env, logs
from mailbot.lib.clock import steady_now

django_stubs_ext.monkeypatch()  # Django's generics take [Type] when they run, too

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = env.path("MAILBOT_VAR", BASE_DIR / "var")
VERSION = re.search(r"^## (\d\S*)", (BASE_DIR / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[1]  # type: ignore[index]

# --- Addresses ---------------------------------------------------------------------------------------------------------
MAILBOT_DOMAIN = env.domain("MAILBOT_DOMAIN", "mailbot.localhost")
MAILBOT_SIMULATOR_DOMAIN = f"simulator.{MAILBOT_DOMAIN}"
MAILBOT_HOST = env.text("MAILBOT_HOST", "127.0.0.1")
MAILBOT_PORT = env.number("MAILBOT_PORT", 8000, minimum=1)
MAILBOT_URL = env.text("MAILBOT_URL", f"http://{MAILBOT_HOST}:{MAILBOT_PORT}").rstrip("/")
ALLOWED_HOSTS = env.names("MAILBOT_ALLOWED_HOSTS", ["127.0.0.1", "[::1]", ".localhost", MAILBOT_DOMAIN])
TRUSTED_PROXIES = env.number("MAILBOT_TRUSTED_PROXIES", 0)

# --- Secrets -----------------------------------------------------------------------------------------------------------
DEBUG = False
SECRET_KEY = env.kept_secret("MAILBOT_SECRET_KEY", VAR / "secret.key") or "unset: mailbot.E001 refuses to start"
SECRET_KEY_IS_SET = not SECRET_KEY.startswith("unset:")
# The newest first: it encrypts, the others still decrypt (`manage.py rotate_credentials`).
ENCRYPTION_KEYS = env.names("MAILBOT_ENCRYPTION_KEYS", []) or [
    env.kept_secret("MAILBOT_ENCRYPTION_KEY", VAR / "encryption.key")
]
# Hosts, addresses and networks that tenants may have us connect to although they are not public (mailbot.lib.public_hosts).
FETCH_ALLOW = env.names("MAILBOT_FETCH_ALLOW", [])
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = MAILBOT_URL.startswith("https://")
CSRF_TRUSTED_ORIGINS = [MAILBOT_URL]

# --- Applications ------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular_sidecar",
    "auditlog",
    "mailbot.apps.MailbotConfig",
    "audit.apps.AuditConfig",
    "inboxes.apps.InboxesConfig",
    "threads.apps.ThreadsConfig",
    "delivery.apps.DeliveryConfig",
]
# The API passes by all but the first two (mailbot.console_middleware).
MIDDLEWARE = [
    "audit.middleware.RequestContextMiddleware",
    "mailbot.api.exposed_keys.ExposedKeyMiddleware",
    "mailbot.console_middleware.SecurityMiddleware",
    "mailbot.console_middleware.SessionMiddleware",
    "mailbot.console_middleware.CommonMiddleware",
    "mailbot.console_middleware.CsrfViewMiddleware",
    "mailbot.console_middleware.AuthenticationMiddleware",
    "mailbot.console_middleware.ConsoleActorMiddleware",
    "mailbot.console_middleware.ConsoleScopeMiddleware",
    "mailbot.console_middleware.MessageMiddleware",
    "mailbot.console_middleware.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "mailbot.urls"
ASGI_APPLICATION = "mailbot.asgi.application"
APPEND_SLASH = True
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "admin:login"

# --- Database ----------------------------------------------------------------------------------------------------------
DATABASE_URL = env.text("DATABASE_URL")
SQLITE = {
    "ENGINE": "mailbot.lib.sqlite_turns",
    "NAME": VAR / "mailbot.sqlite3",
    "OPTIONS": {
        # DEFERRED transactions fail with "database is locked" when two writers upgrade at once; IMMEDIATE ones queue.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # synchronous=FULL: a 250 is a promise, so the WAL is flushed before we answer. See docs/decisions/0003.
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY;"
            " PRAGMA cache_size=-16000; PRAGMA journal_size_limit=67108864;"
        ),
    },
    "TEST": {"NAME": VAR / "test.sqlite3"},
}
# Under ASGI each request may run in another thread, so connections are pooled by psycopg and not kept by thread.
POSTGRESQL_OPTIONS = {
    "pool": {
        "min_size": 1,
        "max_size": env.number("MAILBOT_DATABASE_POOL", 10, minimum=1),
        "timeout": 4,  # seconds for a connection; less than a mail's sender waits (SMTPLimits.database_timeout)
        # Seconds. The pool tries to connect after 1, 2, 4, … up to this sum, and whoever asks afterwards begins anew. By default it
        # doubles for five minutes: mailbot would be away as long again as PostgreSQL was.
        "reconnect_timeout": 4,
    }
}
DATABASES = {"default": SQLITE}
if DATABASE_URL:
    DATABASES = {"default": dict(dj_database_url.parse(DATABASE_URL))}
    if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
        DATABASES["default"]["ENGINE"] = "mailbot.lib.postgresql_walls"
    DATABASES["default"].setdefault("OPTIONS", {}).update(POSTGRESQL_OPTIONS)  # type: ignore[attr-defined]
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True  # what the pool holds may have ended with a restart of PostgreSQL
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Tasks and wake-ups ------------------------------------------------------------------------------------------------
REDIS_URL = env.text("REDIS_URL")
BROKER_FOLDER = VAR / "broker"
# kombu's own filesystem transport loses the worker: mailbot.lib.filesystem_broker.
CELERY_BROKER_URL = REDIS_URL or "mailbot-filesystem://localhost"
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {"visibility_timeout": 3600, "socket_timeout": 5, "socket_connect_timeout": 5}
    if REDIS_URL
    else {
        # The same folder both ways: whoever writes a message is also whom it is for.
        "data_folder_in": str(BROKER_FOLDER),
        "data_folder_out": str(BROKER_FOLDER),
        "control_folder": str(BROKER_FOLDER / "control"),
        "store_processed": False,
        "polling_interval": 0.01,
    }
)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # for ever: the default ends the worker when Redis is away for long
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "mailbot"
CELERY_TASK_ACKS_LATE = False  # a hint that is lost is found by the sweep; a hint that runs twice only costs time
CELERY_TASK_PUBLISH_RETRY = False  # the request must not wait for a broker that is gone
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False  # the console backend prints whole mails: they are no log
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = bool(REDIS_URL)
CELERY_TIMEZONE = "UTC"
# Nothing here remembers a time: beat would wait for an hour after its clock was set back by one, and the worker would take
# every sweep for expired while its own is ahead. What piles up while no worker runs costs it seconds.
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"
SWEEP_OPTIONS = {"expires": 7200}
CELERY_BEAT_SCHEDULE = {
    name: {"task": task, "schedule": schedule(seconds, nowfun=steady_now), "options": SWEEP_OPTIONS}
    for name, task, seconds in (
        ("heartbeat", "delivery.tasks.beat_heart", 15.0),
        ("sweep-inbound", "delivery.tasks.process_inbound", 5.0),
        ("wait-for-others", "delivery.tasks.wait_for_others", 5.0),
        ("sweep-outbound", "delivery.tasks.sweep_outbound", 5.0),
        ("look-after-breakers", "delivery.tasks.look_after_breakers", 15.0),
        ("process-provider-events", "delivery.tasks.process_provider_events", 5.0),
        ("move-raw", "delivery.tasks.move_raw", 60.0),
        ("sweep-storage", "delivery.tasks.sweep_storage", 60.0),
        ("sweep-retention", "delivery.tasks.sweep_retention", 60.0),
        ("index-messages", "delivery.tasks.index_messages", 5.0),
        ("seal-trail", "audit.tasks.seal_trail", 5.0),
        ("post-heads", "audit.tasks.post_heads", 15.0),
        ("make-exports", "audit.tasks.make_exports", 5.0),
        ("expire-exports", "audit.tasks.expire_exports", 600.0),
        ("verify-trails", "audit.tasks.verify_trails", 600.0),
        ("make-months", "audit.tasks.make_months", 3600.0),
        ("expire-inboxes", "inboxes.tasks.expire_inboxes", 15.0),
        ("sweep-quotas", "inboxes.tasks.sweep_quotas", 60.0),
        ("forget-answers", "inboxes.tasks.forget_answers", 60.0),
        ("check-domains", "inboxes.tasks.check_domains", 60.0),
        ("sweep-sending-record", "inboxes.tasks.sweep_sending_record", 600.0),
        ("forget-sends", "delivery.tasks.forget_sends", 60.0),
        ("run-erasures", "delivery.tasks.run_erasures", 15.0),
        ("sweep-suppressions", "delivery.tasks.sweep_suppressions", 600.0),
    )
}
WAKEUPS = "threads.wakeups_redis.RedisChannel" if REDIS_URL else "threads.wakeups_sqlite.DatabaseWatcher"

# --- Mail in -----------------------------------------------------------------------------------------------------------
SMTP_HOST = env.text("MAILBOT_SMTP_HOST", "127.0.0.1")
SMTP_PORT = env.number("MAILBOT_SMTP_PORT", 2525, minimum=1)
SMTP_MAX_SIZE = env.number("MAILBOT_SMTP_MAX_SIZE", 30 * 1024 * 1024, minimum=1024)  # octets
SMTP_MAX_CONNECTIONS = env.number("MAILBOT_SMTP_MAX_CONNECTIONS", 500, minimum=1)
SMTP_MAX_RECIPIENTS = env.number("MAILBOT_SMTP_MAX_RECIPIENTS", 100, minimum=1)
SMTP_IDLE_TIMEOUT = env.number("MAILBOT_SMTP_IDLE_TIMEOUT", 300, minimum=1)  # seconds, RFC 5321 4.5.3.2.7
SMTP_MAX_QUEUED_OCTETS = env.number("MAILBOT_SMTP_MAX_QUEUED_OCTETS", 256 * 1024 * 1024, minimum=1024)
# Tags of ours in addresses (threads.address_tags): where bounces go, and where answers do.
BOUNCE_TAGS = env.flag("MAILBOT_BOUNCE_TAGS", True)
REPLY_TAGS = env.flag("MAILBOT_REPLY_TAGS", False)
SMTP_TLS_CERTIFICATE = env.text("MAILBOT_SMTP_TLS_CERTIFICATE")
SMTP_TLS_KEY = env.text("MAILBOT_SMTP_TLS_KEY")
INBOUND_LEASE = env.number("MAILBOT_INBOUND_LEASE", 30, minimum=3)  # seconds
# Seconds until a mail that could not be processed is tried again, after the first time, the second, …; then it has failed.
INBOUND_RETRY_AFTER = env.numbers("MAILBOT_INBOUND_RETRY_AFTER", [2, 30, 300], minimum=1)

# --- Mail out ----------------------------------------------------------------------------------------------------------
# `console:` prints, `smtp://user:password@host:587/?starttls=true` hands to a smart host; for an ESP set MAILBOT_EMAIL_BACKEND
# to an Anymail backend and its credentials as ANYMAIL_… (docs/configuration.md).
EMAIL_RELAY = env.text("MAILBOT_RELAY", "console:")
EMAIL_BACKEND = env.text("MAILBOT_EMAIL_BACKEND", "django.core.mail.backends.console.EmailBackend")
ANYMAIL = env.prefixed("ANYMAIL_")
vars().update(env.relay(EMAIL_RELAY, timeout=30))

# Seconds until a mail whose worker does not come back is unknown. Longer than a provider may take to answer (30 s) by far.
SEND_LEASE = env.number("MAILBOT_SEND_LEASE", 300, minimum=5)
# Mails that a worker process has on their way at once; 0: one after the other.
SEND_THREADS = env.number("MAILBOT_SEND_THREADS", 32)

# --- DNS ---------------------------------------------------------------------------------------------------------------
# Who answers: these servers (`host:port`), the system's own without any, or a zone file in place of all.
DNS_SERVERS = env.names("MAILBOT_DNS_SERVERS", [])
DNS_ZONE_FILE = env.text("MAILBOT_DNS_ZONE_FILE")
DNS_TIMEOUT: float = env.number("MAILBOT_DNS_TIMEOUT", 5, minimum=1)  # seconds
# What domains of accounts publish: where their mail goes, and whom their SPF records name.
MX_HOST = env.domain("MAILBOT_MX_HOST", MAILBOT_DOMAIN)
SPF_MECHANISM = env.text("MAILBOT_SPF", f"a:{MX_HOST}")
# When the breaker stops an inbox, a domain or a provider (delivery.outbound.breaker; docs/reputation.md).
BREAKER_BOUNCES = env.percent("MAILBOT_BREAKER_BOUNCES", "5")
BREAKER_COMPLAINTS = env.percent("MAILBOT_BREAKER_COMPLAINTS", "0.1")
BREAKER_SENDS = env.number("MAILBOT_BREAKER_SENDS", 50, minimum=1)  # recipients: fewer prove nothing
BREAKER_FEWEST_COMPLAINTS = env.number("MAILBOT_BREAKER_FEWEST_COMPLAINTS", 1, minimum=1)
BREAKER_DOMAIN_SENDS = env.number("MAILBOT_BREAKER_DOMAIN_SENDS", 500, minimum=1)
BREAKER_WINDOW = env.number("MAILBOT_BREAKER_WINDOW", 86400, minimum=3600)  # seconds
BREAKER_PAUSE = env.number("MAILBOT_BREAKER_PAUSE", 3600, minimum=1)  # seconds until the first trial sends
BREAKER_TRIALS = env.number("MAILBOT_BREAKER_TRIALS", 10, minimum=1)  # recipients
BREAKER_QUIET = env.number(
    "MAILBOT_BREAKER_QUIET", 1800, minimum=300
)  # seconds without a bounce, where nobody tells of deliveries
# Recipients a day of a new domain on its first day, the second, …; afterwards as many as anybody wants. 0: no warm-up.
WARM_UP = [number for number in env.numbers("MAILBOT_WARM_UP", [50, 100, 500, 1000, 5000, 10000, 20000]) if number]
# Until an address that bounced for good is written to again; 0: never by itself.
SUPPRESSION_DAYS_HARD_BOUNCE = env.number("MAILBOT_SUPPRESSION_DAYS_HARD_BOUNCE", 90)
# Opening links to unsubscribe that are none of ours, by remote address.
RATE_LIMIT_UNSUBSCRIBE = env.rate("MAILBOT_RATE_LIMIT_UNSUBSCRIBE", "30/minute")
# Seconds for authenticating a batch of mails that came in, all its look-ups together; 0: nothing is looked up.
AUTHENTICATION_SECONDS = env.number("MAILBOT_AUTHENTICATION_SECONDS", 5)

# --- Content -----------------------------------------------------------------------------------------------------------
FOLDER: dict[str, Any] = {
    "BACKEND": "mailbot.lib.file_storage.DurableFileStorage",
    "OPTIONS": {"location": VAR / "storage", "file_permissions_mode": 0o600, "directory_permissions_mode": 0o700},
}
S3_BUCKET = env.text("MAILBOT_S3_BUCKET")
# Without keys boto3 looks where it always does: AWS_… variables, its own files, the role of the machine.
S3: dict[str, Any] = {
    "BACKEND": "mailbot.lib.s3_storage.S3ObjectStore",
    "OPTIONS": {
        "bucket_name": S3_BUCKET,
        "location": env.text("MAILBOT_S3_PREFIX"),
        "endpoint_url": env.text("MAILBOT_S3_ENDPOINT") or None,
        "region_name": env.text("MAILBOT_S3_REGION") or None,
        "access_key": env.text("MAILBOT_S3_ACCESS_KEY_ID") or None,
        "secret_key": env.text("MAILBOT_S3_SECRET_ACCESS_KEY") or None,
    },
}
# What the outbox compares the database with, to see that an older one was restored (delivery.outbound.outbox).
STATE_DIR = env.path("MAILBOT_STATE_DIR", VAR / "state")
OUTSIDE_RECORD = f"mailbot.lib.outside_record.{'StoredRecord' if S3_BUCKET else 'FileRecord'}"
STORAGES = {
    "default": S3 if S3_BUCKET else FOLDER,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# Recent mail is read most, and a test inbox is often purged within the hour: until then its bytes stay in their row.
RAW_MOVE_AFTER = env.number("MAILBOT_RAW_MOVE_AFTER", 3600)  # seconds
# Octets. What is larger goes there before its row is written: a row of megabytes keeps others waiting, on SQLite everybody. 0: never.
RAW_TO_STORE_ABOVE = env.number("MAILBOT_RAW_TO_STORE_ABOVE", 1024 * 1024)
RAW_RETENTION_DAYS = env.number("MAILBOT_RAW_RETENTION_DAYS", 0)  # 0: for ever, since raw mail is evidence
INBOUND_RETENTION_DAYS = env.number("MAILBOT_INBOUND_RETENTION_DAYS", 30)  # 0: for ever
REVIEW_MINUTES = env.number("MAILBOT_REVIEW_MINUTES", 60)  # for which a reviewer may read the mail of one inbox
STATIC_URL = "/static/"
STATIC_ROOT = VAR / "static"
DATA_UPLOAD_MAX_MEMORY_SIZE = 40 * 1024 * 1024  # a send with 28 MiB of attachments in base64
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000

# --- API ---------------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["inboxes.api.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["mailbot.api.permissions.HasRight"],
    "DEFAULT_PARSER_CLASSES": ["mailbot.api.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["mailbot.api.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "mailbot.api.negotiation.AlwaysTheSame",
    "DEFAULT_SCHEMA_CLASS": "mailbot.api.openapi.Operation",
    "EXCEPTION_HANDLER": "mailbot.api.errors.handle",
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_METADATA_CLASS": None,  # OPTIONS tells nothing: the API has a documentation
    "DATETIME_FORMAT": None,  # the renderer writes times, everywhere the same way
}
IDEMPOTENCY_MEMORY = "inboxes.idempotency"  # a module; mailbot.api has no tables

# --- Limits ------------------------------------------------------------------------------------------------------------
# Far above what an agent does, and below what would let one that runs in circles take the server for itself.
RATE_LIMIT_KEY = env.rate("MAILBOT_RATE_LIMIT_KEY", "12000/minute")
RATE_LIMIT_ACCOUNT = env.rate("MAILBOT_RATE_LIMIT_ACCOUNT", "60000/minute")
RATE_LIMIT_BAD_KEYS = env.rate("MAILBOT_RATE_LIMIT_BAD_KEYS", "60/minute")  # calls with unknown keys, by remote address
RATE_COUNTER = "mailbot.lib.rates_redis.RedisCounter" if REDIS_URL else "mailbot.lib.rates.ProcessCounter"
# For accounts that have none of their own; 0: no limit.
ACCOUNT_DAILY_SEND_LIMIT = env.number("MAILBOT_ACCOUNT_DAILY_SEND_LIMIT", 0)  # recipients a day
ACCOUNT_STORAGE_QUOTA = env.number("MAILBOT_ACCOUNT_STORAGE_QUOTA", 0)  # octets
# What stands before the path in pixels and links of tracked mail. A name of its own keeps readers away from the API's.
TRACKING_URL = env.text("MAILBOT_TRACKING_URL", MAILBOT_URL).rstrip("/")
# What ends loops (docs/loop-guard.md); 0: no limit. Mails of an inbox within an hour, in one thread and to one address.
LOOP_THREAD_LIMIT = env.number("MAILBOT_LOOP_THREAD_LIMIT", 20)
LOOP_PAIR_LIMIT = env.number("MAILBOT_LOOP_PAIR_LIMIT", 30)
LOOP_OWN_MAILS = env.number("MAILBOT_LOOP_OWN_MAILS", 10)  # of the last hour, which a mail names in References
LOOP_HOPS = env.number("MAILBOT_LOOP_HOPS", 30)  # Received headers: Exim's default; Postfix takes 50
SPECTACULAR_SETTINGS = {
    "OAS_VERSION": "3.1.0",
    "COMPONENT_SPLIT_REQUEST": True,  # what may be sent is stricter than what is answered
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
}

# --- Audit -------------------------------------------------------------------------------------------------------------
AUDITLOG_LOGENTRY_MODEL = "audit.AuditEntry"
AUDITLOG_STORE_JSON_CHANGES = True  # None and False are values, not words
AUDITLOG_MASK_CALLABLE = "audit.record.masked"  # the default shows the second half of a secret
AUDITLOG_DISABLE_REMOTE_ADDR = True  # it trusts the first X-Forwarded-For; audit.middleware fills the column
# The newest first: it signs the heads of the trail's trees, and one before it endorses it (`manage.py rotate_audit_key`).
AUDIT_KEY_FILE = VAR / "audit.key"
AUDIT_KEYS = env.names("MAILBOT_AUDIT_KEYS", []) or env.kept_secret("MAILBOT_AUDIT_KEY", AUDIT_KEY_FILE).split()
AUDIT_KEY_IS_IN_FILE = not (env.text("MAILBOT_AUDIT_KEYS") or env.text("MAILBOT_AUDIT_KEY"))
# Where heads are posted that we cannot take back: "-" keeps no file.
AUDIT_ANCHOR_FILE = env.text("MAILBOT_AUDIT_ANCHOR_FILE", str(STATE_DIR / "audit-heads.jsonl"))
AUDIT_ANCHOR_WEBHOOK = env.text("MAILBOT_AUDIT_ANCHOR_WEBHOOK")
AUDIT_ANCHOR_MAIL = env.text("MAILBOT_AUDIT_ANCHOR_MAIL")
AUDIT_ANCHOR_EVERY = env.number("MAILBOT_AUDIT_ANCHOR_EVERY", 600)  # seconds
EXPORT_HOURS = env.number("MAILBOT_EXPORT_HOURS", 168, minimum=1)  # that a finished export can be downloaded

# --- Language, time, log -----------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
# Who has it may read /metrics; without one nothing is counted.
METRICS_TOKEN = env.text("MAILBOT_METRICS_TOKEN")
METRICS_DIR = env.path("MAILBOT_METRICS_DIR", VAR / "metrics")
SENTRY_DSN = env.text("SENTRY_DSN")
SENTRY_ENVIRONMENT = env.text("SENTRY_ENVIRONMENT", "production")
LOG_FORMAT = env.one_of("MAILBOT_LOG_FORMAT", logs.FORMATS, logs.default_format(is_production=bool(DATABASE_URL)))
LOGGING = logs.logging_settings(LOG_FORMAT, env.text("MAILBOT_LOG_LEVEL", "INFO").upper())
