# Helpers of the scripts that run the images, or the same programs without docker. Source it; it runs nothing.
#
#   TEXTCLF_TRAINING_PYTHON=…  a Python with requirements.txt (default: that of .venv, which is made if it is missing)
#   TEXTCLF_SERVING_PYTHON=…   a Python with requirements-serving.txt (default: that of .venv-serving, likewise)
#   READY_SECONDS=…            how long a server may take to become ready (default: 120)
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

# need_port PORT: fail if it is no port number, or wait_for could not ask a server on it.
need_port() {
    [[ $1 =~ ^[1-9][0-9]{0,4}$ ]] && [ "$1" -le 65535 ] || fail "expected a port number, got $1"
    command -v curl >/dev/null || fail "expected curl; try: apt-get install curl"
    [[ ${READY_SECONDS:-120} =~ ^[1-9][0-9]*$ ]] || fail "expected READY_SECONDS with a number, got $READY_SECONDS"
}

# need_free_port PORT: fail if a server listens on it, whose /ping would be taken for that of the new server.
need_free_port() {
    need_port "$1"
    if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then
        fail "expected a free port, got $1, where a server listens; stop that server, or give another port"
    fi
}

# wait_for URL COMMAND…: wait READY_SECONDS until the URL answers with 200; fail as soon as the command fails.
wait_for() {
    local url=$1 seconds=${READY_SECONDS:-120}
    shift
    local end=$((SECONDS + seconds))
    while [ "$SECONDS" -lt "$end" ]; do
        if curl --silent --fail --max-time 2 --output /dev/null "$url"; then return 0; fi
        "$@" >/dev/null 2>&1 || return 1
        sleep 0.1
    done
    say "$url did not answer with 200 within $seconds seconds"
    return 1
}

# pass_signals PROCESS…: Ctrl-C and SIGTERM go to the processes; docker passes them to its container.
pass_signals() {
    children=("$@") signalled=
    trap 'signalled=yes; kill -TERM "${children[@]}" 2>/dev/null || true' INT TERM
}

# wait_to_end PROCESS: wait until it has ended, also after a signal; the exit status is that of the process.
wait_to_end() {
    local status
    while :; do
        status=0
        signalled=
        wait "$1" || status=$?
        # A signal that is passed on ends the wait, but not yet the process.
        [ -n "$signalled" ] || return "$status"
    done
}
