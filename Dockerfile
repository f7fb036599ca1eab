# The page and the HTTP interface of tumorseg, without torch. Built from a checkout:
#
#   docker build -t tumorseg .
#
# Run as docs/serve.md says: with a read-only root file system, a /tmp in memory, and no rights.

FROM python:3.11-slim-bookworm AS build

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src src
# The versions are those that the tests passed with.
RUN python -m venv /opt/tumorseg \
    && /opt/tumorseg/bin/pip install -c constraints.txt '.[web]'

FROM python:3.11-slim-bookworm

RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin tumorseg
COPY --from=build /opt/tumorseg /opt/tumorseg

ENV PATH=/opt/tumorseg/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TUMORSEG_CACHE=/tmp/cache \
    TUMORSEG_SERVE_HOST=0.0.0.0 \
    TUMORSEG_SERVE_PORT=8000 \
    TUMORSEG_SERVE_MAX_STORED=2048

# A number, so that Kubernetes' runAsNonRoot can see that it is not root.
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['TUMORSEG_SERVE_PORT']}/healthz\", timeout=8)"]

ENTRYPOINT ["tumorseg"]
CMD ["serve"]
