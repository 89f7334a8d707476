# Helpers of the scripts that run the images, or the same programs without docker. Source it; it runs nothing.
#
#   TEXTCLF_TRAINING_PYTHON=…  a Python with requirements.txt (default: that of .venv, which is made if it is missing)
#   TEXTCLF_SERVING_PYTHON=…   a Python with requirements-serving.txt (default: that of .venv-serving, likewise)
# shellcheck shell=bash
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
training_image=textclf-training
serving_image=textclf

say() { echo "${0##*/}: $*" >&2; }
fail() { say "$@"; exit 1; }

# Whether docker is installed and its daemon answers, which is asked once.
has_docker() {
    if [ -z "${docker_answers:-}" ]; then
        docker_answers=no
        if command -v docker >/dev/null && docker info >/dev/null 2>&1; then docker_answers=yes; fi
    fi
    [ "$docker_answers" = yes ]
}

# build_image training|serving IMAGE
build_image() {
    local revision
    revision=$(git -C "$root" describe --always --dirty 2>/dev/null || echo unknown)
    say "building the image $2 with docker"
    docker build --target "$1" --tag "$2" --label "org.opencontainers.image.revision=$revision" "$root" >&2
}

# need_image training|serving IMAGE: build a default image that is missing; any other must be there.
need_image() {
    if docker image inspect "$2" >/dev/null 2>&1; then return; fi
    case $2 in
        "$training_image" | "$serving_image") build_image "$1" "$2" ;;
        *) fail "expected the image $2, which docker does not have; build it, or leave out the argument" ;;
    esac
}

# python_of training|serving: print the interpreter of an environment that replaces the image.
python_of() {
    local variable=TEXTCLF_TRAINING_PYTHON environment=.venv
    if [ "$1" = serving ]; then variable=TEXTCLF_SERVING_PYTHON environment=.venv-serving; fi
    local python=${!variable:-}
    if [ -z "$python" ]; then
        python=$root/$environment/bin/python
        "${MAKE:-make}" --no-print-directory -C "$root" "$environment/.installed" >&2
    fi
    command -v "$python" >/dev/null || fail "$variable: expected a Python, got $python, which is not there"
    echo "$python"
}

# need_free_port PORT: fail if a server listens on it, whose /ping would be taken for that of the new server.
need_free_port() {
    [[ $1 =~ ^[0-9]+$ ]] || fail "expected a port number, got $1"
    if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then
        fail "expected a free port, got $1, where a server listens; stop that server, or give another port"
    fi
}

# wait_for URL COMMAND…: wait up to two minutes until the URL answers with 200; fail as soon as the command fails.
wait_for() {
    local url=$1
    shift
    command -v curl >/dev/null || fail "expected curl; try: apt-get install curl"
    for _ in $(seq 600); do
        if curl --silent --fail --max-time 2 --output /dev/null "$url"; then return 0; fi
        "$@" >/dev/null 2>&1 || return 1
        sleep 0.2
    done
    say "$url did not answer with 200 within two minutes"
    return 1
}
