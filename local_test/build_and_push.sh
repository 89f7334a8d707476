#!/usr/bin/env bash
# Build an image of this checkout and push it to ECR.
#
#   local_test/build_and_push.sh IMAGE PROFILE [TAG] [OPTION…]    # --help lists the options
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/../ops/cloud_command.sh" build_and_push "$@"
