#!/usr/bin/env bash
# Send a file to the server of serve_local.sh and print the response.
#
#   local_test/predict.sh PAYLOAD [CONTENT_TYPE]
#
# PAYLOAD is a file, or - for standard input. Without CONTENT_TYPE the name decides: .json, .jsonl, otherwise text/csv.
# PORT=… is the server's port (default: 8080). The exit status is not 0 if the server refuses the request.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
[ $# -ge 1 ] && [ $# -le 2 ] || fail "expected PAYLOAD [CONTENT_TYPE], got $# arguments"
[ "$1" = - ] || [ -f "$1" ] || fail "expected a file with texts, got $1, which is no file"
command -v curl >/dev/null || fail "expected curl; try: apt-get install curl"
case $1 in
    *.json) content_type=application/json ;;
    *.jsonl) content_type=application/jsonlines ;;
    *) content_type=text/csv ;;
esac
curl --silent --show-error --fail-with-body --header "Content-Type: ${2:-$content_type}" --data-binary "@$1" \
    "http://127.0.0.1:${PORT:-8080}/invocations"
echo
