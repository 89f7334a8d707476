#!/usr/bin/env bash
# Build an image, or without docker the environment that replaces it.
#
#   ops/build.sh training|serving
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/containers.sh"
case ${1:-} in
    training) image=$training_image ;;
    serving) image=$serving_image ;;
    *) fail "expected training or serving, got ${1:-nothing}" ;;
esac
if has_docker; then
    build_image "$1" "$image"
else
    python=$(python_of "$1")
    say "docker does not answer: instead of the image $image, $python is ready"
fi
