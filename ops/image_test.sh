#!/usr/bin/env bash
# Build the images from this checkout and check them from outside, without a container engine: buildah and debootstrap
# make a Debian base image, build the Dockerfile on it, and run the result as the image's user.
#
#   make image-test
#
#   MODEL=…          the model store to serve (default: model/)
#   TRAINING=no      leave out the training image
#   WHEELS=…         a folder with the packages of the images, and setuptools, setuptools_scm and wheel (default: pip
#                    downloads them)
#   DEBIAN_MIRROR=…  where Debian's packages come from (default: debootstrap's own)
#   PYTHON=…         a Python 3.11 with pip
#
# Needs root, buildah, debootstrap, iproute2 and curl. .image-test/ keeps the Debian root and the wheels for the next run.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=$PWD/.image-test
python=${PYTHON:-python3.11}
with_training=${TRAINING:-yes}

fail() { echo "image-test: $*" >&2; exit 1; }
step() { echo "image-test: $*"; }

[ "$(id -u)" = 0 ] || fail "expected root, which buildah and debootstrap need here; try: sudo make image-test"
for tool in buildah debootstrap ip:iproute2 curl; do
    command -v "${tool%:*}" >/dev/null || fail "expected ${tool%:*}; try: apt-get install ${tool#*:}"
done

work=$(mktemp -d)
within=(env)  # What containers and clients start with: env, or a command that enters a network of their own.
buildah() { "${within[@]}" buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }
in_container() { buildah run --isolation chroot "$@"; }
clean_up() {
    if [ -f "$work/pid/server" ]; then kill -KILL "$(cat "$work/pid/server")" 2>/dev/null || true; fi
    remove_network
    buildah rm --all >/dev/null 2>&1 || true
    rm -rf "$work"
}
. ops/image_test_hub.sh
. ops/image_test_training.sh
trap clean_up EXIT

mkdir -p "$cache"
if [ ! -f "$cache/bookworm.tar" ]; then
    step "making a Debian root"
    debootstrap --variant=minbase bookworm "$work/root" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$work/debootstrap.log" ||
        { tail "$work/debootstrap.log"; fail "debootstrap failed"; }
    # As in the published Debian images, packages start no services.
    printf '#!/bin/sh\nexit 101\n' >"$work/root/usr/sbin/policy-rc.d"
    chmod +x "$work/root/usr/sbin/policy-rc.d"
    rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
    tar --create --numeric-owner --directory "$work/root" --file "$cache/bookworm.tar.new" .
    mv "$cache/bookworm.tar.new" "$cache/bookworm.tar"
    rm -rf "$work/root"
fi
base=$(buildah from scratch)
buildah add --quiet "$base" "$cache/bookworm.tar" / >/dev/null
buildah commit --quiet --rm "$base" localhost/bookworm >/dev/null

wheels=${WHEELS:-$cache/wheels}
if [ -z "${WHEELS:-}" ]; then
    step "fetching wheels"
    download() { "$python" -m pip download -qq --use-pep517 --dest "$wheels" "$@"; }
    for name in serving aws hub; do download --require-hashes --requirement "requirements-$name.txt"; done
    if [ "$with_training" = yes ]; then
        download --require-hashes --requirement requirements-training.txt
        download --require-hashes --no-deps --requirement requirements-encoder.txt
        download setuptools setuptools_scm wheel  # They build the packages that have no wheel.
    fi
fi
printf '[global]\nno-index = true\nfind-links = /wheels\n' >"$work/pip.conf"

build() { # tag, other options
    buildah bud --quiet --isolation chroot --format docker --tag "$1" --build-arg BASE=localhost/bookworm \
        --volume "$(realpath "$wheels"):/wheels:ro" --volume "$work/pip.conf:/etc/pip.conf:ro" "${@:2}" . \
        >"$work/build.log" 2>&1 || { tail -40 "$work/build.log"; fail "the build of $1 failed"; }
}
say_size() { # container
    step "built: $(du -sh --apparent-size "$(buildah mount "$1")" | cut -f1)"
    buildah umount "$1" >/dev/null
}

step "building the serving image"
build textclf
# Everything before the user is the same, so the root variant begins with the image that was built.
mkdir "$work/empty"
{ echo 'FROM localhost/textclf'; sed -n '/^ARG USER=/,$p' Dockerfile; } >"$work/empty/Dockerfile"
buildah bud --quiet --isolation chroot --format docker --tag textclf-root --build-arg USER=root "$work/empty" \
    >"$work/build.log" 2>&1 || { tail -40 "$work/build.log"; fail "the build of the root variant failed"; }
container=$(buildah from localhost/textclf)
root_container=$(buildah from localhost/textclf-root)
inspect() { buildah inspect --type image --format "$1" localhost/textclf; }
say_size "$container"

step "the user is not root, and TensorFlow is not there"
[ "$(in_container "$container" -- id -u)" != 0 ] || fail "expected a user other than root"
# shellcheck disable=SC2016
in_container "$container" -- python3 -c 'import importlib.util as u, sys; sys.exit(u.find_spec("tensorflow") is not None)' ||
    fail "expected no TensorFlow in the serving image"
in_container "$container" -- sh -c 'test -w /data && ! test -w /app' || fail "expected /data to be writable, and /app not"

step "train says why it can't"
if in_container "$container" -- train 2>"$work/train.err"; then fail "expected train to fail in the serving image"; fi
in_container "$container" -- cat /opt/ml/output/failure >"$work/failure"
grep --quiet "training image" "$work/failure" || fail "expected the training image to be named, got: $(cat "$work/failure")"

step "the label lets SageMaker choose the port"
label=com.amazonaws.sagemaker.capabilities.accept-bind-to-port
[ "$(inspect "{{index .Docker.Config.Labels \"$label\"}}")" = true ] || fail "expected the label $label=true"

if [ -z "${MODEL:-}" ]; then
    MODEL=$work/model
    cp --recursive model "$MODEL"
    chmod -R a+rX "$MODEL"
fi
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port
default=$(inspect '{{range .Docker.Config.Cmd}}{{.}} {{end}}')
# The process that becomes the server writes its id: these containers share the host's process ids.
mkdir "$work/pid" && chmod 777 "$work/pid"

wait_until_ready() { # sets server
    local ready=
    for _ in $(seq 600); do
        if "${within[@]}" curl --silent --fail --output /dev/null "$url/ping"; then ready=yes; break; fi
        kill -0 "$run" 2>/dev/null || break
        sleep 0.1
    done
    [ -n "$ready" ] || { cat "$work/serve.log"; fail "expected /ping to answer 200 within a minute"; }
    server=$(cat "$work/pid/server")
}
start() { # container, model or "" for that of the image, other options
    local mounted=()
    if [ -n "$2" ]; then mounted=(--volume "$(realpath "$2"):/opt/ml/model:ro"); fi
    in_container "${mounted[@]}" --volume "$work/pid:/pid" \
        --env HOST=127.0.0.1 --env "SAGEMAKER_BIND_TO_PORT=$port" "${@:3}" "$1" -- \
        sh -c "echo \$\$ >/pid/server; exec $default" >"$work/serve.log" 2>&1 &
    run=$!
    wait_until_ready
}
stop() {
    kill -TERM "$server"
    local status=0
    wait "$run" || status=$?
    rm "$work/pid/server"  # The next user could not write it.
    [ "$status" = 0 ] || { cat "$work/serve.log"; fail "expected exit status 0, got $status"; }
}
answer() { # path, content type, body
    "${within[@]}" curl --silent --show-error --fail-with-body --header "Content-Type: $2" --data-binary "$3" "$url$1" ||
        { cat "$work/serve.log"; fail "$1 did not answer"; }
    echo
}

step "serve answers on the port that SageMaker chose"
start "$container" "$MODEL"
[ "$(stat --format %u "/proc/$server")" != 0 ] || fail "expected the server to run as another user than root"
answer /predict application/json '{"text": "a great film"}' | tee "$work/predict"
grep --quiet '"label"' "$work/predict" || fail "expected a label"
answer /predict application/json '{"X": ["a great film", "a dull film"]}'
answer /invocations application/json '{"data": "a great film"}' | tee "$work/invocations"
grep --quiet '"prediction"' "$work/invocations" || fail "expected a prediction"
answer /invocations text/csv 'a great film'
answer /invocations application/jsonlines '{"id": 7, "text": "a great film"}' | tee "$work/lines"
grep --quiet '^{"id":7,' "$work/lines" || fail "expected the id of the line"
curl --silent "$url/execution-parameters" | tee "$work/parameters"
echo
grep --quiet MULTI_RECORD "$work/parameters" || fail "expected parameters of a batch transform job"

step "its health check says so"
health=$(inspect '{{range .Docker.Config.Healthcheck.Test}}{{.}} {{end}}')
[ "$health" = "CMD healthcheck " ] || fail "expected the health check to be the command healthcheck, got $health"
in_container --env HOST=127.0.0.1 --env "SAGEMAKER_BIND_TO_PORT=$port" "$container" -- healthcheck ||
    fail "expected the health check to pass"

step "SIGTERM ends it with 0"
stop
if in_container --env HOST=127.0.0.1 --env "PORT=$port" "$container" -- healthcheck 2>"$work/health.err"; then
    fail "expected the health check to fail without a server"
fi

step "a batch transform job gets an answer for each record"
start "$container" "$MODEL" --env SAGEMAKER_BATCH=true --env SAGEMAKER_MAX_PAYLOAD_IN_MB=6
answer /invocations text/csv $'a great film\n"never closed\na dull film' | tee "$work/batch"
[ "$(grep --count . "$work/batch")" = 3 ] || fail "expected three records"
grep --quiet '^,,.*invalid_csv' "$work/batch" || fail "expected an error in the second record"
stop

step "the root variant reads a model that only root may read"
cp --recursive "$MODEL" "$work/of_root"
chown --recursive 0:0 "$work/of_root"
chmod 700 "$work/of_root"
start "$root_container" "$work/of_root"
[ "$(stat --format %u "/proc/$server")" = 0 ] || fail "expected the server to run as root"
answer /invocations application/json '{"data": "a great film"}'
workers=0
for child in $(pgrep --parent "$server"); do
    for worker in $(pgrep --parent "$child"); do
        grep --quiet '^nginx: worker' "/proc/$worker/cmdline" || continue
        workers=$((workers + 1))
        [ "$(stat --format %u "/proc/$worker")" != 0 ] || fail "expected the workers of nginx to give up the rights of root"
    done
done
[ "$workers" -gt 0 ] || fail "expected workers of nginx below the server, process $server"
stop
if in_container --volume "$work/of_root:/opt/ml/model:ro" --env "PORT=$port" "$container" -- \
    serve 2>"$work/of_root.log"; then fail "expected serve to fail on a model that only root may read"; fi
grep "^error: MODEL_PATH: .*user 10001 may read, got /opt/ml/model" "$work/of_root.log" ||
    fail "expected one line that names the folder and the user"

step "a foreign user serves on a read-only file system"
image=$(buildah mount "$container")
mapfile -t environment < <(inspect '{{range .Docker.Config.Env}}{{println .}}{{end}}' | grep .)
# shellcheck disable=SC2016
unshare --mount sh -c '
    root=$1 model=$2 pid=$3 port=$4 && shift 4 &&
    mount --bind "$root" "$root" && mount -o remount,bind,ro "$root" &&
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp" && mkdir "$root/tmp/pid" &&
    mount --bind "$pid" "$root/tmp/pid" && mount --bind "$model" "$root/opt/ml/model" &&
    mount --rbind /dev "$root/dev" && mount -t proc proc "$root/proc" &&
    exec chroot --userspec=4242:4242 "$root" env -i "$@" HOST=127.0.0.1 "PORT=$port" \
        sh -c "echo \$\$ >/tmp/pid/server; exec serve"' \
    sh "$image" "$(realpath "$MODEL")" "$work/pid" "$port" "${environment[@]}" >"$work/serve.log" 2>&1 &
run=$!
wait_until_ready
[ "$(stat --format %u "/proc/$server")" = 4242 ] || fail "expected the server to run as user 4242"
answer /predict application/json '{"text": "a great film"}'
grep "POST /feedback will fail" "$work/serve.log" || fail "expected a line that names the folder for reviews"
stop
buildah umount "$container" >/dev/null

step "mounted folders of another user are named"
cp --recursive "$MODEL" "$work/private"
mkdir "$work/data"
chown --recursive 4242:4242 "$work/private" "$work/data"
chmod 700 "$work/private"
if in_container --volume "$work/private:/opt/ml/model:ro" --env "PORT=$port" "$container" -- \
    serve 2>"$work/private.log"; then fail "expected serve to fail on a model that it may not read"; fi
grep "^error: MODEL_PATH: .*user 10001 may read, got /opt/ml/model" "$work/private.log" ||
    fail "expected one line that names the folder and the user"
if in_container --volume "$work/data:/opt/ml" "$container" -- train 2>"$work/train.err"; then fail "expected train to fail"; fi
grep "/opt/ml/output/failure can't be written" "$work/train.err" ||
    fail "expected train to name the file that it can't write"
# Not at /data: buildah mounts the image's volume over it.
if in_container --volume "$work/data:/reviews" --env NEW_DATA_DIR=/reviews/new --env "PORT=$port" "$container" -- \
    serve 2>"$work/data.log"; then
    fail "expected serve to fail without a model"
fi
grep "NEW_DATA_DIR, /reviews/new, can't be written" "$work/data.log" ||
    { cat "$work/data.log"; fail "expected NEW_DATA_DIR to be named"; }
grep "^error: MODEL_PATH: expected a model, found none in /opt/ml/model" "$work/data.log" ||
    fail "expected the missing model to be named"
test_hub
if [ "$with_training" = yes ]; then test_training; fi
step "all is well"
