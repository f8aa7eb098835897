# The image of every Mianjiao process: API, licence service, sequencer, commands.
# Installs are locked by hash (uv.lock); the result runs as a user without rights,
# on a read-only file system. docker-compose.yml says which process does what.
FROM python:3.13-slim-trixie AS build
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /src
COPY scripts/uv-requirements.txt scripts/
RUN python -m venv /uv && /uv/bin/pip install --quiet --no-cache-dir --require-hashes \
    --only-binary :all: --no-deps --requirement scripts/uv-requirements.txt
COPY pyproject.toml uv.lock README.md LICENSE ./
ENV UV_PROJECT_ENVIRONMENT=/opt/mianjiao
RUN /uv/bin/uv sync --locked --no-dev --no-install-project --python /usr/local/bin/python
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
RUN /uv/bin/uv sync --locked --no-dev --no-editable --python /usr/local/bin/python

FROM python:3.13-slim-trixie
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
