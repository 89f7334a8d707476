#!/usr/bin/env bash
# Serve test_dir/model, which train_local.sh has made, on 127.0.0.1 until Ctrl-C.
#
#   local_test/serve_local.sh [IMAGE] [PORT]
#
# With docker it runs the image (default: textclf, built if it is missing), otherwise serving/serve of this checkout.
# The port is 8080 by default. The exit status is that of the server, or 1 if it was not ready in
# READY_SECONDS and then ended with 0.
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
pass_signals "$server"
failed=
url=http://127.0.0.1:$port
if wait_for "$url/ping" kill -0 "$server"; then
    say "ready; ask it from another terminal, or stop it with Ctrl-C:"
    echo "curl -s $url/invocations -H 'Content-Type: application/json' -d '{\"data\": \"The parcel never arrived.\"}'"
elif [ -z "$signalled" ]; then
    failed=yes
    say "the server was not ready, and is stopped"
    kill -TERM "$server" 2>/dev/null || true
fi
status=0
wait_to_end "$server" || status=$?
if [ -n "$failed" ] && [ "$status" = 0 ]; then status=1; fi
exit "$status"
