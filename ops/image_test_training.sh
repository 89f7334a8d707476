# The steps of image_test.sh that run training jobs in the training image. Source it; it runs nothing.
#
# The jobs train a tiny encoder with random weights. tests/helpers makes it in the image, which has what that needs.
# shellcheck shell=bash disable=SC2154

# make_job FOLDER HYPERPARAMETERS: the input of a job, laid out like /opt/ml on SageMaker.
make_job() {
    mkdir -p "$1/input/config" "$1/input/data"
    cp local_test/test_dir/input/config/*.json "$1/input/config/"
    echo "$2" >"$1/input/config/hyperparameters.json"
}

# start_job FOLDER [OPTION …]: start `train` in the background; sets run. The options are those of buildah run.
start_job() {
    # shellcheck disable=SC2016
    in_container --volume "$1:/opt/ml" --volume "$work/pid:/pid" "${@:2}" "$training_container" -- \
        sh -c 'echo $$ >/pid/server; exec train' >"$work/train.log" 2>&1 &
    run=$!
}

# end_job STATUS: wait until the job ends with this exit status.
end_job() {
    local status=0
    wait "$run" || status=$?
    rm -f "$work/pid/server"
    [ "$status" = "$1" ] || { tail -40 "$work/train.log"; fail "expected train to end with $1, got $status"; }
}

# stop_after_an_epoch: send SIGTERM to the job that runs.
stop_after_an_epoch() {
    for _ in $(seq 3000); do
        if grep --quiet 'textclf:epoch=1;' "$work/train.log" || ! kill -0 "$run" 2>/dev/null; then break; fi
        sleep 0.1
    done
    kill -TERM "$(cat "$work/pid/server")" || { tail -40 "$work/train.log"; fail "expected the job to run after an epoch"; }
}

test_training() { # The serving image, container, serves the model at the end.
    step "building the training image"
    build textclf-training --target training
    training_container=$(buildah from localhost/textclf-training)
    say_size "$training_container"

    step "train gives the reason of a failure"
    make_job "$work/failed" '{"epoch": "3"}'
    start_job "$work/failed"
    end_job 1
    head -1 "$work/failed/output/failure" | grep --only-matching 'unknown hyperparameter epoch' ||
        fail "expected output/failure to name the hyperparameter"

    step "train saves a checkpoint at SIGTERM"
    # Only SIGTERM leaves a checkpoint before the last step.
    make_job "$work/job" '{"encoder": "/opt/ml/input/encoder", "epochs": "100", "init_lr": "5e-3", "batch_size": "8",
        "max_length": "32", "precision": "float32", "recipe": "none", "select": "last", "name": "films",
        "checkpoint_steps": "100000"}'
    in_container --volume "$PWD/tests/helpers:/helpers:ro" --volume "$work/job:/opt/ml" --env PYTHONPATH=/helpers \
        "$training_container" -- python3 -c '
from pathlib import Path
from tiny_bert import write_checkpoint, write_reviews
write_checkpoint(Path("/opt/ml/input/encoder"))
write_reviews(Path("/opt/ml/input/data"), per_class=30)'
    start_job "$work/job"
    stop_after_an_epoch
    end_job 143
    grep --only-matching 'stopped after step [0-9]*, which is saved' "$work/train.log" ||
        fail "expected the step that was saved"
    [ -n "$(find "$work/job/checkpoints" -name 'step-*.index')" ] || fail "expected a checkpoint in /opt/ml/checkpoints"
    [ ! -e "$work/job/output/failure" ] || fail "expected no failure of a stopped job"
    [ ! -e "$work/job/model/current" ] || fail "expected no model of a stopped job"

    step "the job continues in another folder, as a foreign user"
    cp --recursive "$work/job" "$work/resumed"
    chown --recursive 4242:4242 "$work/resumed"
    start_job "$work/resumed" --user 4242:4242
    end_job 0
    grep --only-matching 'continuing from step [0-9]* of [0-9]*' "$work/train.log" ||
        fail "expected the job to continue from its checkpoint"
    [ "$(stat --format %u "$work/resumed/model/current")" = 4242 ] || fail "expected the model to belong to user 4242"
    [ -s "$work/resumed/output/data/metrics.json" ] || fail "expected metrics in /opt/ml/output/data"
    grep --quiet 'textclf:val_macro_f1=' "$work/train.log" || fail "expected a metric in the log after each epoch"

    step "the serving image serves the trained model"
    chmod -R a+rX "$work/resumed/model"
    start "$container" "$work/resumed/model"
    answer /predict application/json '{"text": "a great film"}' | tee "$work/predict"
    grep --quiet '"model":"films ' "$work/predict" || fail "expected the name of the trained model"
    stop
}
