#!/usr/bin/env bash
# Train on test_dir/input as SageMaker would. test_dir then has model/, output/ and checkpoints/.
#
#   local_test/train_local.sh [IMAGE]
#
# With docker it runs the image (default: textclf-training, built if it is missing), otherwise serving/train of this
# checkout. The exit status is that of the job; output/failure has the reason of a failure.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
[ $# -le 1 ] || fail "expected at most one argument, [IMAGE], got $#"
make_job_folders

if has_docker; then
    image=${1:-$training_image}
    need_image training "$image"
    say "training with docker, in the image $image"
    mapfile -t volumes < <(job_volumes)
    exec docker run --rm --user "$(id -u):$(id -g)" "${volumes[@]}" "$image" train
fi
python=$(python_of training)
say "training without docker, with $python${1:+; the image $1 is not used}"
PREFIX=$test_dir exec "$python" "$root/serving/train"
