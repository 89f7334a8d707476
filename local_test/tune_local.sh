#!/usr/bin/env bash
# Search for better options on test_dir/input/data, in two processes that share one study in test_dir/output/study.
#
#   local_test/tune_local.sh [-n TRIALS] [IMAGE] [-- OPTION…]
#
# -n is the number of trials over all processes and runs (default: 4). PROCESSES=… is the number of processes (default: 2).
# DATASET=… is another data set: a folder or a table, by default the channels of test_dir. What follows -- are options
# of `textclf tune`. The best options are in test_dir/output/best.toml, a page with plots in test_dir/output/study.html.
# After a kill the same command goes on. The exit status is not 0 if a process failed.
#
# With docker it runs the image (default: textclf-training, built if it is missing), otherwise the Python of this checkout.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
trials=4
if [ "${1:-}" = -n ]; then
    [[ ${2:-} =~ ^[0-9]+$ ]] || fail "expected a number of trials after -n, got ${2:-nothing}"
    trials=$2
    shift 2
fi
image=$training_image
if [ $# -gt 0 ] && [ "$1" != -- ]; then
    image=$1
    shift
fi
[ $# -eq 0 ] || [ "$1" = -- ] || fail "expected options of textclf tune after --, got $1"
[ $# -eq 0 ] || shift
[[ ${PROCESSES:=2} =~ ^[1-9][0-9]*$ ]] || fail "expected a number of PROCESSES, got $PROCESSES"
make_job_folders
dataset=${DATASET:-$test_dir/input/data}
[ -e "$dataset" ] || fail "expected a data set, got $dataset, which does not exist; set DATASET"
dataset=$(realpath "$dataset")

if has_docker; then
    need_image "$image" training
    say "searching with docker, in the image $image"
    command=(docker run --rm --user "$(id -u):$(id -g)" --volume "$dataset:/data/$(basename "$dataset"):ro"
        --volume "$test_dir/output:/opt/ml/output" "$image" python3 -m textclf)
    dataset=/data/$(basename "$dataset") output=/opt/ml/output
else
    command=("$(python_of training)" -m textclf)
    say "searching without docker, with ${command[0]}"
    export PYTHONPATH=$root
    output=$test_dir/output
fi
options=(--encoder minilm-l6 --max-length 64)
[ $# -eq 0 ] || options=("$@")
processes=()
for number in $(seq "$PROCESSES"); do
    "${command[@]}" tune --dataset-path "$dataset" --trials "$trials" --study-dir "$output/study" \
        --save "$output/best.toml" --html "$output/study.html" --data-dir "$output/datasets" "${options[@]}" \
        > >(sed -u "s/^/[$number] /") &
    processes+=($!)
done
# docker passes the signals to its container.
trap 'kill -TERM "${processes[@]}" 2>/dev/null || true' INT TERM
status=0
for process in "${processes[@]}"; do wait "$process" || status=$?; done
exit "$status"
