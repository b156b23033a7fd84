FROM python:3.11-slim-trixie AS build

ENV UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 UV_PYTHON=/opt/processor/bin/python
WORKDIR /src
COPY requirements/uv.txt requirements/
RUN pip install --quiet --no-cache-dir --root-user-action=ignore --require-hashes -r requirements/uv.txt \
 && python -m venv --without-pip /opt/processor

# dependencies first: they change less often than the code
COPY requirements/runtime.txt requirements/
RUN uv pip install --require-hashes --only-binary :all: -r requirements/runtime.txt

# what builds the project has its versions and hashes in dev.txt, and stays in this stage
COPY requirements/dev.txt requirements/
COPY pyproject.toml LICENSE README.md ./
COPY schemas schemas
COPY requirements/mlflow.txt requirements/
COPY processor processor
RUN uv build --wheel --require-hashes --build-constraints requirements/dev.txt --out-dir dist . \
 && uv pip install --no-deps --no-index dist/*.whl


FROM python:3.11-slim-trixie

RUN pip uninstall --yes --quiet --root-user-action=ignore pip \
 && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin processor
COPY --from=build /opt/processor /opt/processor
ENV PATH=/opt/processor/bin:$PATH PYTHONUNBUFFERED=1
# a .env file is looked for here
WORKDIR /etc/processor
USER 10001:10001
ENTRYPOINT ["processor"]
CMD ["--help"]
