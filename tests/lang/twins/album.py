"""Twin of album.rwf."""

from __future__ import annotations

from dataclasses import dataclass

from raftoral import Checkpoint, Compute, Flow, ForEach, Log, workflow
from raftoral.errors import WorkflowFailed
from raftoral.replay.effects import activity


@dataclass(frozen=True)
class Page:
    number: int
    url: str


@dataclass(frozen=True)
class Picture:
    page: int
    url: str
    size: int


@dataclass(frozen=True)
class Album:
    id: str
    pictures: list[Picture]
    missing: list[int]
    size: int


@activity("docs.pages")
def list_pages(document: str) -> list[Page]:
    raise NotImplementedError


@activity("images.shrink")
def shrink(url: str, width: int, height: int) -> Picture:
    raise NotImplementedError


@activity("images.publish")
def publish(document: str, pictures: list[Picture]) -> str:
    raise NotImplementedError


@workflow("media.album", version=1)
def album(document: str, width: int = 240) -> Flow[Album]:
    pages = yield from (
        Compute("pages", list_pages, document).retry(5, first="1s", longest="1m").timeout("1m")
    )
    failed = yield from Checkpoint("failed", 0)

    def small(page: Page) -> Flow[Picture | None]:
        try:
            return (
                yield from Compute("picture", shrink, page.url, width, width * 3 // 4)
                .retry(
                    3,
                    first="2s",
                    longest="1m",
                    jitter_percent=25,
                    only=("Timeout", "Unavailable"),
                )
                .timeout("2m")
                .heartbeat("20s")
            )
        except WorkflowFailed as failure:
            if failure.name not in ("Timeout", "Unavailable"):
                raise
            yield from Log(f"page {page.number} is left out: {failure.name}")
            return None

    made = yield from ForEach("made", pages, small, by=lambda page: page.number, limit=8)
    missing = [page.number for page, one in zip(pages, made, strict=True) if one is None]
    yield from failed.set(len(missing))
    if len(missing) * 10 > len(pages):
        raise WorkflowFailed("Failed", f"too many pages failed: {missing}")
    pictures = [one for one in made if one is not None]
    largest_first = sorted(pictures, key=lambda one: one.size, reverse=True)
    id_ = yield from (
        Compute("id", publish, document, largest_first)
        .timeout("1m")
        .idempotency_key(f"album-{document}")
    )
    return Album(id_, largest_first, missing, sum(one.size for one in pictures))
