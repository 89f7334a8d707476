# The folder of a local job, laid out like /opt/ml on SageMaker. Source it; it runs nothing.
#
#   TEST_DIR=…  another folder with input/ (default: test_dir next to this file)
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/../ops/containers.sh"
test_dir=${TEST_DIR:-$root/local_test/test_dir}

# make_job_folders: the folders that SageMaker makes, and absolute paths for docker.
make_job_folders() {
    [ -d "$test_dir/input" ] || fail "expected the folder $test_dir/input; see local_test/README.md"
    mkdir -p "$test_dir/model" "$test_dir/output/data" "$test_dir/checkpoints" "$test_dir/datasets"
    test_dir=$(cd "$test_dir" && pwd)
}

# job_volumes: arguments of docker run that mount the job's folders below /opt/ml, one a line.
job_volumes() {
    printf '%s\n' --volume "$test_dir/input:/opt/ml/input:ro"
    for name in model output checkpoints datasets; do printf '%s\n' --volume "$test_dir/$name:/opt/ml/$name"; done
}
