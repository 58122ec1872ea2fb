"""Mail that nobody here wrote, when it is at hand: MAILBOT_CORPUS, else `../shared/corpus` beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CORPUS = Path(os.environ.get("MAILBOT_CORPUS") or Path(__file__).resolve().parents[3] / "shared" / "corpus")

needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no mail corpus at {CORPUS}; set MAILBOT_CORPUS")


def corpus_files(*folders: str, pattern: str = "*") -> list[Path]:
    """Every file below these folders of the corpus, in a fixed order; none when the corpus is not there."""
    return sorted(path for folder in folders for path in (CORPUS / folder).rglob(pattern) if path.is_file())
