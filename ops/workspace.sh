# The folder in which the commands of ops/containers.mk keep data and models. Source it; it runs nothing.
#
#   WORKSPACE=…  another folder than the checkout; it gets datasets/, runs/, my-models/ and .api/
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/containers.sh"
workspace=$(cd "${WORKSPACE:-$root}" && pwd)
data_config=datasets/data.toml
models=my-models
encoder_cache=${TEXTCLF_CACHE_DIR:-$HOME/.cache/textclf}

docker_options=()

# mount_path VARIABLE: if its value is a path, make that absolute, and mount it in docker.
mount_path() {
    local -n mounted=$1
    [ -e "$mounted" ] || return 0
    mounted=$(realpath "$mounted")
    if has_docker; then
        docker_options+=(--volume "$mounted:/mounted/$1/$(basename "$mounted"):ro")
        mounted=/mounted/$1/$(basename "$mounted")
    fi
}

# in_training PROGRAM…, or in_training -c CODE: run Python in the workspace, in the training image or its environment.
# docker_options has more arguments for docker run. With in_background=1 it replaces its process, to get the signals.
in_training() {
    cd "$workspace"
    mkdir -p datasets runs "$models" "$encoder_cache"
    local how python program=$1
    if has_docker; then
        need_image training "$training_image"
        how="with docker, in the image $training_image"
    else
        python=$(python_of training)
        how="without docker, with $python"
    fi
    # User, password and query of a URL are secrets.
    if [ "$program" != -c ]; then say "$how: $(sed -E 's#://[^/@ ]*@#://#g; s#(://[^ ?]*)\?[^ ]*#\1#g' <<<"$*")"; fi
    if has_docker; then
        ${in_background:+exec} docker run --rm --user "$(id -u):$(id -g)" ${docker_options[@]+"${docker_options[@]}"} \
            --volume "$workspace/datasets:/app/datasets" --volume "$workspace/runs:/app/runs" \
            --volume "$workspace/$models:/app/$models" --volume "$encoder_cache:/tmp/textclf-cache" \
            "$training_image" python "$@"
    else
        if [ "$program" != -c ]; then program=$root/$program; fi
        ${in_background:+exec} "$python" "$program" "${@:2}"
    fi
}
