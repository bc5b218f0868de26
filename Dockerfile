# docker build -t trio-lb .
# docker run --rm -p 8000:8000 -v ./config.yaml:/etc/trio-lb/config.yaml:ro trio-lb
#
# The profile has to listen on every interface of the container, as in `listen: http://*:8000`.

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --wheel-dir /wheels . \
 && python -m venv --without-pip /opt/trio-lb \
 && pip --python /opt/trio-lb/bin/python install --no-cache-dir --no-index --find-links /wheels trio-lb

FROM python:${PYTHON}-slim
COPY --from=build /opt/trio-lb /opt/trio-lb
ENV PATH=/opt/trio-lb/bin:$PATH
# A number, so that Kubernetes can tell that it isn't root (runAsNonRoot).
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
# No shell between: trio-lb is process 1, gets the signals, and reaps what is left to it.
ENTRYPOINT ["trio-lb"]
CMD ["start", "--profile", "/etc/trio-lb/config.yaml"]
