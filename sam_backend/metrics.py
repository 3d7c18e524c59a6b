"""What `/metrics` counts: requests, the stages of a click, refusals, caches and queues."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)

REQUEST = Histogram("sam_request_seconds", "Whole requests by route", ["route"], buckets=_BUCKETS)
STAGE = Histogram(
    "sam_stage_seconds",
    "Stages of a click: fetch, picture, encode, decode, rle",
    ["stage"],
    buckets=_BUCKETS,
)
REFUSALS = Counter("sam_refusals_total", "Requests answered without a mask", ["cause"])
STALE = Counter(
    "sam_stale_total", "Clicks given up: a newer click overtook them, or the client disconnected"
)
CACHE = Counter(
    "sam_cache_total", "Embeddings by where they came from: memory, disk, miss", ["tier"]
)
CACHE_BYTES = Gauge("sam_cache_bytes", "Embeddings in memory", multiprocess_mode="livesum")
PREFETCH = Counter("sam_prefetch_total", "Images encoded before a click: done, failed", ["outcome"])
QUEUE = Gauge(
    "sam_queue_length",
    "Requests that wait or are served: clicks, webhooks, encode, decode; jobs in prefetch",
    ["queue"],
    multiprocess_mode="livesum",
)
