# Helpers of the scripts that run the images, or the same programs without docker. Source it; it runs nothing.
#
#   TEXTCLF_TRAINING_PYTHON=…  a Python with requirements.txt (default: .venv, which `make build_dev` makes)
#   TEXTCLF_SERVING_PYTHON=…   a Python with requirements-serving.txt (default: .venv-serving, which `make build_api` makes)
# shellcheck shell=bash
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
training_image=textclf-training
serving_image=textclf

say() { echo "${0##*/}: $*" >&2; }
fail() { say "$@"; exit 1; }

# Whether docker is installed and its daemon answers.
has_docker() { command -v docker >/dev/null && docker info >/dev/null 2>&1; }

# need_image IMAGE TARGET: build a default image that is missing; any other must be there.
need_image() {
    if docker image inspect "$1" >/dev/null 2>&1; then return; fi
    case $1 in
        "$training_image" | "$serving_image") ;;
        *) fail "expected the image $1, which docker does not have; build it, or leave out the argument" ;;
    esac
    say "building the image $1"
    docker build --target "$2" --tag "$1" "$root" >&2
}

# python_of training|serving: print the interpreter of an environment that replaces the image.
python_of() {
    local python made_by
    case $1 in
        training) python=${TEXTCLF_TRAINING_PYTHON:-$root/.venv/bin/python} made_by=build_dev ;;
        serving) python=${TEXTCLF_SERVING_PYTHON:-$root/.venv-serving/bin/python} made_by=build_api ;;
    esac
    command -v "$python" >/dev/null || fail "expected docker or $python, found neither; run: make -C $root $made_by"
    echo "$python"
}

# need_free_port PORT: fail if a server listens on it, whose /ping would be taken for that of the new server.
need_free_port() {
    [[ $1 =~ ^[0-9]+$ ]] || fail "expected a port number, got $1"
    if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then
        fail "expected a free port, got $1, where a server listens; stop that server, or give another port"
    fi
}

# wait_for_ping URL PROCESS: wait up to two minutes until the server answers; fail as soon as the process has ended.
wait_for_ping() {
    local url=$1 process=$2
    command -v curl >/dev/null || fail "expected curl; try: apt-get install curl"
    for _ in $(seq 600); do
        if curl --silent --fail --max-time 2 --output /dev/null "$url/ping"; then return 0; fi
        kill -0 "$process" 2>/dev/null || return 1
        sleep 0.2
    done
    say "$url/ping did not answer with 200 within two minutes"
    return 1
}
