"""Composition root of HTTP: which paths there are, and whose they are."""

from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
]
