# The back end with MobileSAM on ONNX Runtime: no PyTorch, no root.
#
# To pin the base images, build with what these commands print:
#   docker buildx imagetools inspect --format 'python@{{.Manifest.Digest}}' python:3.12-slim
#   docker buildx imagetools inspect --format 'node@{{.Manifest.Digest}}' node:22-slim
#   docker build --build-arg PYTHON_IMAGE=python@sha256:… --build-arg NODE_IMAGE=node@sha256:… .
ARG PYTHON_IMAGE=python:3.12-slim
ARG NODE_IMAGE=node:22-slim

FROM ${NODE_IMAGE} AS weights
WORKDIR /weights
COPY download_models.sh .
RUN MODEL_DIR=/weights/models ./download_models.sh --model mobile_sam

FROM ${PYTHON_IMAGE}
WORKDIR /app
COPY requirements*.txt ./
RUN pip install --no-cache-dir -r requirements.txt \
    && pip install --no-cache-dir --no-deps -r requirements-sdk.txt -r requirements-openvino.txt
# requirements-gpu.txt, say: it brings an ONNX Runtime of its own.
ARG EXTRA=""
RUN if [ -n "$EXTRA" ]; then \
    pip uninstall -y onnxruntime && pip install --no-cache-dir -r "$EXTRA"; fi
COPY --from=weights /weights/models /opt/weights
COPY *.py ./
COPY sam_backend sam_backend
RUN useradd --uid 1000 --create-home sam && mkdir /data && chown sam /data
USER 1000
# What the server writes (what its workers share) goes to /data; the weights are read only.
ENV MODEL_DIR=/data MOBILESAM_CHECKPOINT=/opt/weights/mobile_sam PYTHONUNBUFFERED=1
EXPOSE 9090
HEALTHCHECK --interval=30s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://localhost:9090/health', timeout=2)"]
CMD ["python", "_wsgi.py"]
