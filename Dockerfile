# The image of every Mianjiao process: API, licence service, sequencer, commands.
# Installs are locked by hash (uv.lock); the result runs as a user without rights,
# on a read-only file system. docker-compose.yml says which process does what.
# Where a registry or the package index cannot be reached, --build-arg names others:
# PYTHON_IMAGE (a Debian with this Python), PIP_INDEX_URL (a mirror: the same files by the
# same hashes). Certificates are judged by the CAs of PYTHON_IMAGE. EXTRAS="otel pkcs11" adds
# the optional parts of these names (pyproject.toml).
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
ARG PIP_INDEX_URL
ARG EXTRAS=
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never UV_NO_CACHE=1 \
    UV_SYSTEM_CERTS=1
WORKDIR /src
COPY scripts/uv-requirements.txt scripts/
RUN python -m venv /uv && /uv/bin/pip install --quiet --no-cache-dir --require-hashes \
    --only-binary :all: --no-deps --requirement scripts/uv-requirements.txt
COPY pyproject.toml uv.lock README.md LICENSE ./
# The lock names the files of the public index. A mirror has them under other addresses.
RUN /uv/bin/uv export --quiet --locked --no-dev --no-emit-project --output-file locked.txt \
    $(for one in $EXTRAS; do echo "--extra $one"; done) \
    && /uv/bin/uv venv --quiet --python /usr/local/bin/python /opt/mianjiao \
    && /uv/bin/uv pip install --python /opt/mianjiao/bin/python --require-hashes --no-deps \
    --only-binary :all: ${PIP_INDEX_URL:+--default-index "$PIP_INDEX_URL"} --requirement locked.txt
COPY archive archive
COPY kernel kernel
COPY ledger ledger
COPY license_service license_service
COPY materials_api materials_api
COPY migrations migrations
COPY parties parties
COPY portal portal
COPY runtime runtime
COPY storage storage
# The project's own build needs uv alone: offline, nothing unlocked can slip in.
RUN /uv/bin/uv pip install --python /opt/mianjiao/bin/python --no-deps --offline . \
    && rm /opt/mianjiao/.lock

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 mianjiao \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin mianjiao \
    && install -d -o mianjiao -g mianjiao -m 0700 /var/lib/mianjiao
COPY --from=build /opt/mianjiao /opt/mianjiao
ENV PATH=/opt/mianjiao/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
VOLUME /var/lib/mianjiao
EXPOSE 8000
ENTRYPOINT ["mianjiao"]
CMD ["serve", "--data", "/var/lib/mianjiao", "--host", "0.0.0.0", "--port", "8000"]
