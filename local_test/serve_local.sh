#!/usr/bin/env bash
# Serve test_dir/model, which train_local.sh has made, on 127.0.0.1 until Ctrl-C.
#
#   local_test/serve_local.sh [IMAGE] [PORT]
#
# With docker it runs the image (default: textclf, built if it is missing), otherwise serving/serve of this checkout.
# The port is 8080 by default. The exit status is that of the server.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
[ $# -le 2 ] || fail "expected at most two arguments, [IMAGE] [PORT], got $#"
image=${1:-$serving_image}
port=${2:-8080}
[ -e "$test_dir/model/current" ] || fail "expected a model in $test_dir/model; run local_test/train_local.sh first"
make_job_folders
need_free_port "$port"

if has_docker; then
    need_image serving "$image"
    say "serving with docker, in the image $image"
    docker run --rm --user "$(id -u):$(id -g)" --publish "127.0.0.1:$port:8080" \
        --env DRAIN_SECONDS=0 --volume "$test_dir/output:/data" --volume "$test_dir/model:/opt/ml/model:ro" "$image" serve &
else
    python=$(python_of serving)
    say "serving without docker, with $python${1:+; the image $1 is not used}"
    # The log and feedback stay in the job's folder.
    MODEL_PATH=$test_dir/model HOST=127.0.0.1 PORT=$port DRAIN_SECONDS=0 NEW_DATA_DIR=$test_dir/output/new_data \
        PREDICTION_LOG_URL=sqlite:///$test_dir/output/prediction_log/predictions.sqlite "$python" "$root/serving/serve" &
fi
server=$!
# Ctrl-C and SIGTERM stop the server; docker passes the signal to the container.
trap 'kill -TERM "$server" 2>/dev/null || true' INT TERM
url=http://127.0.0.1:$port
if wait_for "$url/ping" kill -0 "$server"; then
    say "ready; ask it from another terminal, or stop it with Ctrl-C:"
    echo "curl -s $url/invocations -H 'Content-Type: application/json' -d '{\"data\": \"The parcel never arrived.\"}'"
else
    kill -TERM "$server" 2>/dev/null || true
fi
# A trapped signal ends the first wait; the second one gets the server's exit status.
status=0
wait "$server" || status=$?
if kill -0 "$server" 2>/dev/null; then
    status=0
    wait "$server" || status=$?
fi
exit "$status"
