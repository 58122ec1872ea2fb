"""Erasing a person on request (GDPR, article 17): docs/erasure.md."""
