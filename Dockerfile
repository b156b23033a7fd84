FROM python:3.13-slim-trixie AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# pip of the build stage installs into it, so that it has none of its own
RUN python -m venv --without-pip /opt/processor

# dependencies first: they change less often than the code
COPY requirements/runtime.txt requirements/dev.txt requirements/build.in requirements/
RUN pip --python /opt/processor/bin/python install --require-hashes --only-binary :all: -r requirements/runtime.txt
# what builds the project stays in this stage; its versions and hashes are in dev.txt too
RUN pip install --require-hashes --only-binary :all: --constraint requirements/dev.txt -r requirements/build.in

COPY pyproject.toml LICENSE README.md ./
COPY schemas schemas
COPY processor processor
RUN pip --python /opt/processor/bin/python install --no-deps --no-build-isolation .


FROM python:3.13-slim-trixie

RUN pip uninstall --yes --quiet --root-user-action=ignore pip \
 && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin processor
COPY --from=build /opt/processor /opt/processor
ENV PATH=/opt/processor/bin:$PATH PYTHONUNBUFFERED=1
# a .env file is looked for in here; mount one, or set the environment
WORKDIR /etc/processor
USER 10001:10001
ENTRYPOINT ["processor"]
CMD ["--help"]
