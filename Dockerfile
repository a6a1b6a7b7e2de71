# Two images: `service` (the default) answers over HTTP and holds no torch; `training` trains and publishes.
#   docker build -t clipmax .
#   docker build -t clipmax-training --target training .
#   docker build -t clipmax-cuda --build-arg PROVIDER=cuda .
# A CPU-only torch comes from PyTorch's own index: --build-arg PIP_EXTRA_INDEX_URL=<that index>.
ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt ./
ENV PIP_CONSTRAINT=/src/constraints.txt PIP_BUILD_CONSTRAINT=/src/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1
# hadolint ignore=DL3013 # PIP_CONSTRAINT pins every version, here and below
RUN pip install --no-cache-dir --upgrade pip \
    # The environment has no pip of its own, so that the image it is copied into has none.
    && python -m venv --without-pip /opt/clipmax \
    # Dependencies first and by themselves, so that a change of our code does not install them anew.
    && python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        open('service.txt', 'w').write('\n'.join(project['dependencies'])); \
        open('training.txt', 'w').write('\n'.join(project['optional-dependencies']['training']))"
ENV PIP_PYTHON=/opt/clipmax/bin/python

FROM build AS build-service
ARG PROVIDER=cpu
COPY requirements.txt ./
# Every file by its hash. The CUDA libraries come with the build of onnxruntime that needs them, for its own version.
RUN pip install --no-cache-dir --require-hashes --requirement requirements.txt \
    && if [ "$PROVIDER" = cuda ]; then \
        version=$(sed -n 's/^onnxruntime==//p' constraints.txt) \
        && pip uninstall --yes onnxruntime \
        && pip install --no-cache-dir "onnxruntime-gpu[cuda,cudnn]==$version"; \
    fi
# Nothing imports what goes here: tests, sources, headers, and onnxruntime's C library (its module has the same inside).
RUN find /opt/clipmax/lib -type d \( -name tests -o -name include -o -name __pycache__ -o -path '*/numpy/f2py' \
        -o -regex '.*/onnxruntime/\(transformers\|quantization\|tools\|datasets\)' \) -prune -exec rm -rf {} + \
    && find /opt/clipmax/lib -type f -regex '.*\.\(pyx\|pxd\|pyi\|c\|h\|a\)' -delete \
    && rm -f /opt/clipmax/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.*
COPY README.md LICENSE ./
COPY clipmax/ clipmax/
COPY service/ service/
COPY training/ training/
RUN pip install --no-cache-dir --no-deps .

FROM build AS build-training
ARG PIP_EXTRA_INDEX_URL=
RUN pip install --no-cache-dir --requirement service.txt --requirement training.txt
COPY README.md LICENSE ./
COPY clipmax/ clipmax/
COPY service/ service/
COPY training/ training/
RUN pip install --no-cache-dir --no-deps .

FROM python:${PYTHON_VERSION}-slim AS system
# What only an administrator or a build would use goes; what is left becomes one layer, below.
RUN groupadd --gid 10001 clipmax \
    && useradd --uid 10001 --gid clipmax --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin clipmax \
    && rm -rf /usr/local/lib/python3*/site-packages/* /usr/local/bin/pip* \
        /usr/local/lib/python3*/ensurepip /usr/local/lib/python3*/idlelib /usr/local/lib/python3*/tkinter \
        /usr/local/lib/python3*/turtledemo /usr/local/lib/python3*/test /usr/local/lib/python3*/lib2to3 \
        /usr/local/lib/python3*/config-* \
    && rm -rf /usr/share/doc /usr/share/man /usr/share/locale /usr/share/info /var/lib/apt /var/lib/dpkg /var/cache \
        /var/log /usr/bin/apt* /usr/bin/dpkg* /usr/lib/apt /usr/lib/dpkg /etc/apt /usr/bin/perl* /usr/lib/*/perl* \
        /usr/share/perl* /tmp/*

FROM scratch AS runtime
# hadolint ignore=DL3067 # the whole of it is meant: one layer, without what was removed above
COPY --from=system / /
# The shipped model; a volume made for this place starts with it and belongs to the user below.
COPY --chown=10001:10001 models/ /models/
ENV PATH=/opt/clipmax/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    CLIPMAX_MODELS=/models

FROM runtime AS training
COPY --from=build-training /opt/clipmax /opt/clipmax
WORKDIR /srv
COPY examples/ examples/
RUN ln -s /models models && mkdir runs && chown 10001:10001 runs
# The font cache of the report's plots: there is no home folder.
ENV MPLCONFIGDIR=/tmp/matplotlib
USER 10001:10001
ENTRYPOINT ["clipmax"]
CMD ["train", "examples/mnist/recommended.toml"]

FROM runtime AS service
COPY --from=build-service /opt/clipmax /opt/clipmax
ENV CLIPMAX_HOST=0.0.0.0 \
    CLIPMAX_PORT=8000
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --start-interval=1s --retries=3 CMD ["python", "-c", "import http.client as h, os, sys; c = h.HTTPConnection('127.0.0.1', int(os.environ['CLIPMAX_PORT']), timeout=2); c.request('GET', '/v2/health/ready'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["clipmax"]
CMD ["serve"]
