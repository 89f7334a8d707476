#!/usr/bin/env bash
# Search for better options on test_dir/input/data, in two processes that share one study in test_dir/output/study.
#
#   local_test/tune_local.sh [-n TRIALS] [IMAGE] [-- OPTION…]
#
# -n is the number of trials over all processes and runs (default: 4). PROCESSES=… is the number of processes (default: 2).
# DATASET=… is another data set: a folder or a table, by default the channels of test_dir. Options of `textclf tune`
# follow --; they are added to --encoder minilm-l6 and --max-length 64. The best options are in
# test_dir/output/best.toml, a page with plots in test_dir/output/study.html. After a kill the same command goes on. The
# exit status is not 0 if a process failed.
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
given_image=
if [ $# -gt 0 ] && [ "$1" != -- ]; then
    given_image=$1
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
    image=${given_image:-$training_image}
    need_image training "$image"
    say "searching with docker, in the image $image"
    # The paths are those outside, so that best.toml and the study are also of use there.
    command=(docker run --rm --user "$(id -u):$(id -g)" --volume "$dataset:$dataset:ro"
        --volume "$test_dir/output:$test_dir/output" "$image" python3 -m textclf)
else
    command=("$(python_of training)" -m textclf)
    say "searching without docker, with ${command[0]}${given_image:+; the image $given_image is not used}"
    export PYTHONPATH=$root
fi
output=$test_dir/output
# The last one of an option that is given twice counts.
options=(--encoder minilm-l6 --max-length 64 "$@")
processes=()
for number in $(seq "$PROCESSES"); do
    "${command[@]}" tune --dataset-path "$dataset" --trials "$trials" --study-dir "$output/study" \
        --save "$output/best.toml" --html "$output/study.html" --data-dir "$output/datasets" "${options[@]}" \
        > >(sed -u "s/^/[$number] /") &
    processes+=($!)
done
pass_signals "${processes[@]}"
status=0
for process in "${processes[@]}"; do wait_to_end "$process" || status=$?; done
exit "$status"
