"""The search of the documentation site: what mkdocs-material's search worker does with lunr, on the same index."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

from lunr.builder import Builder
from lunr.stop_word_filter import WORDS, stop_word_filter


class SiteSearch:
    """The index of a built site.

    Args:
        site: its folder.
    """

    def __init__(self, site: Path):
        index = json.loads((site / "search" / "search_index.json").read_text("utf-8"))
        assert index["config"]["pipeline"] == ["stopWordFilter"] and index["config"]["separator"] == r"[\s\-]+"
        builder = Builder()
        builder.ref("location")
        builder.b(0)
        builder.pipeline.add(stop_word_filter)
        for field, options in index["config"]["fields"].items():
            builder.field(field, boost=options["boost"])
        self.pages = set()
        for doc in index["docs"]:
            plain = {key: html.unescape(re.sub("<[^>]+>", " ", doc.get(key, ""))) for key in ("title", "text")}
            builder.add({"location": doc["location"], "tags": "", **plain}, {"boost": doc.get("boost", 1)})
            self.pages.add(doc["location"].partition("#")[0])
        self.index = builder.build()

    def pages_for(self, question: str) -> list[str]:
        """Return the pages that are found, the best first; a page counts by its best section."""
        words = re.split(r"[\s\-]+", question.strip().lower())
        scored = []
        for hit in self.index.search(" ".join(f"{word}*" for word in words)):
            terms = list(hit["match_data"].metadata)
            found = [any(term.startswith(word) for term in terms) for word in words]
            counted = [each for each, word in zip(found, words, strict=True) if each or word not in WORDS]
            share = sum(counted) / len(counted) + ("#" not in hit["ref"])
            scored.append((hit["score"] * (1 + share**2), hit["ref"].partition("#")[0]))
        ranked = sorted(scored, key=lambda each: -each[0])
        return list(dict.fromkeys(page for _, page in ranked))
