"""What Prometheus may know: counts and times; never an id, a name or an address of anybody."""

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import Scope

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 1.5, 2.5, 5, 10, 30, 60, 300)
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")


class Telemetry:
    """The numbers of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "tumorseg_requests_total", "Requests answered", ("method", "route", "status"), registry=self.registry
        )
        self._request_seconds = Histogram(
            "tumorseg_request_seconds", "Time to answer", ("route",), buckets=_SECONDS, registry=self.registry
        )
        self._jobs = Counter("tumorseg_jobs_total", "Segmentations ended", ("status",), registry=self.registry)
        self._job_seconds = Histogram(
            "tumorseg_job_seconds", "Time that a worker took", buckets=_SECONDS, registry=self.registry
        )
        self._slices = Counter("tumorseg_slices_total", "Slices segmented", registry=self.registry)
        self._uploaded = Counter("tumorseg_uploaded_bytes_total", "Bytes received in uploads", registry=self.registry)

    def gauge(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Show a number that is asked for when somebody looks."""
        Gauge(f"tumorseg_{name}", what, registry=self.registry).set_function(value)

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request by its route, not by its address."""
        route: Any = scope.get("route")
        name = getattr(route, "path", "") or "unknown"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._requests.labels(method, name, str(status)).inc()
        self._request_seconds.labels(name).observe(seconds)

    def ended(self, status: str, seconds: float, slices: int) -> None:
        """Count a job."""
        self._jobs.labels(status).inc()
        self._job_seconds.observe(seconds)
        self._slices.inc(slices)

    def uploaded(self, count: int) -> None:
        """Count bytes."""
        self._uploaded.inc(count)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)
