#!/usr/bin/env bash
# Build and push the training image, and start a training job of SageMaker.
#
#   local_test/sagemaker_training.sh SHORTNAME PROFILE IMAGE [OPTION…]    # --help lists the options
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/../ops/cloud_command.sh" training "$@"
