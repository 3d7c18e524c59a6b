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
    "sam_cache_total", "Embeddings by where they came from: memory, disk, machines, miss", ["tier"]
)
CACHE_BYTES = Gauge("sam_cache_bytes", "Embeddings in memory", multiprocess_mode="livesum")
PREFETCH = Counter("sam_prefetch_total", "Images encoded before a click: done, failed", ["outcome"])
QUEUE = Gauge(
    "sam_queue_length",
    "Requests that wait or are served: clicks, webhooks, encode, decode; jobs in prefetch",
    ["queue"],
    multiprocess_mode="livesum",
)
COMMON_STORE = Counter(
    "sam_common_store_total",
    "Questions to the Redis of CACHE_URL: answered, failed, skipped (after failures, for a while)",
    ["outcome"],
)
COMMON_STORE_UP = Gauge(
    "sam_common_store_up",
    "1 if the Redis of CACHE_URL answers, 0 if there is none or it does not",
    multiprocess_mode="livemin",
)
