"""mailbot's settings without mailbot: the same database and pool, one view, no middleware, nobody to authenticate."""

from mailbot.settings import *  # noqa: F403
from mailbot.settings import MIDDLEWARE, REST_FRAMEWORK

ROOT_URLCONF = "benchmarks.bare_view"
MIDDLEWARE.clear()
REST_FRAMEWORK.clear()
REST_FRAMEWORK.update(
    DEFAULT_AUTHENTICATION_CLASSES=[],
    DEFAULT_PERMISSION_CLASSES=[],
    DEFAULT_RENDERER_CLASSES=["mailbot.api.renderers.JSONRenderer"],
    UNAUTHENTICATED_USER=None,
)
