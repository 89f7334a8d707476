#!/usr/bin/env bash
# Build and push the training image, and start a hyperparameter search of SageMaker.
#
#   local_test/sagemaker_hyperparameter.sh SHORTNAME PROFILE IMAGE [OPTION…]    # --help lists the options
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/../ops/cloud_command.sh" tuning "$@"
