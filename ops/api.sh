#!/usr/bin/env bash
# Start a server of the trained model in the background, or stop it.
#
#   [api_port=…] [model=…] ops/api.sh start
#   ops/api.sh stop
#
# A server that was started so before is replaced. model is a model store: by default my-models, or the shipped one if there
# is none. With docker the container is textclf-api; without, .api/ has the number of the process and the log.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"
container=textclf-api
state=$workspace/.api

# Whether the process of .api/pid is still the server, and not another process with its number. A process that has just
# started still has the command line of this script.
is_running() {
    [ -f "$state/pid" ] &&
        grep --quiet --text -e serving/serve -e ops/api.sh "/proc/$(cat "$state/pid")/cmdline" 2>/dev/null
}

stop_api() {
    if is_running; then
        local process
        process=$(cat "$state/pid")
        kill -TERM "$process"
        for _ in $(seq 300); do
            is_running || break
            sleep 0.1
        done
        ! is_running || fail "the server, process $process, did not stop within 30 seconds"
        say "stopped process $process"
    elif [ -z "${1:-}" ]; then
        say "no server is running"
    fi
    rm -f "$state/pid"
}

container_runs() { [ "$(docker container inspect --format '{{.State.Running}}' "$container" 2>/dev/null)" = true ]; }

case ${1:-} in
    start)
        port=${api_port:-5000}
        # Whatever can be refused is refused before the earlier server stops.
        need_port "$port"
        model=${model:-}
        if [ -z "$model" ]; then
            model=$root/model
            if [ -e "$workspace/$models/current" ]; then model=$workspace/$models; fi
        fi
        [ -d "$model" ] || fail "expected model= with a model store, got $model, which is no folder"
        model=$(realpath "$model")
        url=http://127.0.0.1:$port
        if has_docker; then
            need_image serving "$serving_image"
            docker rm --force "$container" >/dev/null 2>&1 || true
            need_free_port "$port"
            say "serving $model with docker, in the container $container"
            mkdir -p "$workspace/new_data" "$workspace/prediction_log"
            # Without --rm, so that the log of a container that fails is there to be read.
            docker run --detach --name "$container" --user "$(id -u):$(id -g)" --env DRAIN_SECONDS=0 \
                --volume "$workspace/new_data:/data/new_data" --volume "$workspace/prediction_log:/data/prediction_log" \
                --publish "127.0.0.1:$port:8080" --volume "$model:/opt/ml/model:ro" "$serving_image" serve >/dev/null
            if ! wait_for "$url/ping" container_runs; then
                docker logs --tail 5 "$container" >&2 || true
                docker rm --force "$container" >/dev/null 2>&1 || true
                fail "the server was not ready; the container $container is removed"
            fi
        else
            python=$(python_of serving)
            stop_api quietly
            need_free_port "$port"
            mkdir -p "$state"
            say "serving $model without docker, with $python; the log is $state/serve.log"
            MODEL_PATH=$model HOST=127.0.0.1 PORT=$port DRAIN_SECONDS=0 NEW_DATA_DIR=$workspace/new_data \
                PREDICTION_LOG_URL=sqlite:///$workspace/prediction_log/predictions.sqlite \
                setsid nohup "$python" "$root/serving/serve" >"$state/serve.log" 2>&1 </dev/null &
            echo $! >"$state/pid"
            if ! wait_for "$url/ping" is_running; then
                tail -n 5 "$state/serve.log" >&2
                stop_api quietly
                fail "the server was not ready, and does not run; the log is $state/serve.log"
            fi
        fi
        echo "$url"
        ;;
    stop)
        if has_docker; then
            if container_runs; then
                docker stop --time 30 "$container" >/dev/null
                say "stopped the container $container"
            else
                say "no server is running"
            fi
            docker rm --force "$container" >/dev/null 2>&1 || true
        else
            stop_api
        fi
        ;;
    *) fail "expected start or stop, got ${1:-nothing}" ;;
esac
