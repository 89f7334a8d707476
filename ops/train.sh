#!/usr/bin/env bash
# Train on downloaded or own data, with TensorBoard on 127.0.0.1 until the training ends.
#
#   [data=…] [encoder=…] [gpu=…] [tensorboard_port=…] ops/train.sh [OPTION]…
#
# data is a folder, table or archive; without it datasets/data.toml names the data, and without that it is data/sample.
# gpu is empty for the CPU, the number of a GPU, or all. Options are those of train_model.py. The new version of my-models
# becomes current.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"
gpu=${gpu:-}
port=${tensorboard_port:-}
[[ $gpu =~ ^([0-9]+|all|)$ ]] || fail "expected gpu= with the number of a GPU or all, got $gpu"
if [ -n "$port" ]; then need_free_port "$port"; fi
arguments=(--model-dir "$models" --runs-dir runs --data-dir datasets --promote)
if [ -n "${encoder:-}" ]; then
    mount_path encoder
    arguments+=(--encoder "$encoder")
fi
if [ -z "${data:-}" ] && [ -f "$workspace/$data_config" ]; then
    arguments+=(--config "$data_config")
else
    data=${data:-$root/data/sample}
    [ -e "$data" ] || fail "expected data= with a folder, table or archive, got $data, which is not there"
    mount_path data
    arguments+=(--dataset-path "$data")
fi

if has_docker; then
    case $gpu in
        "") ;;
        all) docker_options+=(--gpus all) ;;
        *) docker_options+=(--gpus "device=$gpu") ;;
    esac
else
    case $gpu in
        "") export CUDA_VISIBLE_DEVICES=-1 ;;
        all) ;;
        *) export CUDA_VISIBLE_DEVICES=$gpu ;;
    esac
fi
if [ -n "$gpu" ]; then
    message="gpu: expected a GPU that TensorFlow can use, found none; its packages contain no CUDA libraries: install"
    message+=" tensorflow[and-cuda] in the same version, or leave out gpu="
    in_training -c "import sys, tensorflow as tf; tf.config.list_physical_devices('GPU') or sys.exit('$message')"
fi

tensorboard=
tensorboard_container=textclf-tensorboard-$$
stop_tensorboard() {
    if [ -z "$tensorboard" ]; then return; fi
    kill "$tensorboard" 2>/dev/null || true
    wait "$tensorboard" 2>/dev/null || true
    say "TensorBoard has stopped; the curves stay in $workspace/runs"
}
if [ -n "$port" ]; then
    mkdir -p "$workspace/runs"
    log=$workspace/runs/tensorboard.log
    if has_docker; then
        need_image training "$training_image"
        docker run --rm --name "$tensorboard_container" --publish "127.0.0.1:$port:6006" \
            --volume "$workspace/runs:/app/runs:ro" "$training_image" \
            tensorboard --logdir runs --host 0.0.0.0 --port 6006 >"$log" 2>&1 &
    else
        python=$(python_of training)
        "$python" -m tensorboard.main --logdir "$workspace/runs" --host 127.0.0.1 --port "$port" >"$log" 2>&1 &
    fi
    tensorboard=$!
    trap stop_tensorboard EXIT
    wait_for "http://127.0.0.1:$port/" kill -0 "$tensorboard" ||
        { tail -n 3 "$log" >&2; fail "TensorBoard did not start on port $port"; }
    say "TensorBoard shows the curves at http://127.0.0.1:$port"
fi

in_background=1 in_training train_model.py "${arguments[@]}" "$@" &
training=$!
# After Ctrl-C or SIGTERM the training saves its state and ends; the same command continues it.
trap 'kill -TERM "$training" 2>/dev/null || true' INT TERM
status=0
wait "$training" || status=$?
# A trapped signal ends a wait.
while kill -0 "$training" 2>/dev/null; do
    status=0
    wait "$training" || status=$?
done
exit "$status"
