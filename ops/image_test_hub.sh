# The step of image_test.sh that builds an image with extras and a model of the Hub. Source it; it runs nothing.
#
# A server on loopback, that of the tests, plays the Hub.
# shellcheck shell=bash disable=SC2034,SC2154
network=textclf-image-test-$$

make_network() { # with loopback only; sets within
    ip netns add "$network"
    within=(ip netns exec "$network")
    "${within[@]}" ip link set lo up
}
remove_network() { # clean_up calls it, too
    within=(env)
    ip netns delete "$network" 2>/dev/null || true
}

# start_hub: sets hub_address and hub_model, a name with its commit. It ends with its input.
start_hub() {
    coproc hub {
        PYTHONPATH=tests/helpers "$python" -c '
import sys
from pathlib import Path
from loopback_hub import running_hub
with running_hub() as hub:
    commit = hub.add_folder("example/tiny", Path("tests/importing/checkpoints/roberta"))
    print(hub.endpoint, f"example/tiny@{commit}", flush=True)
    sys.stdin.read()'
    }
    hub_process=$!
    read -r hub_address hub_model <&"${hub[0]}" || fail "expected the address of the server that plays the Hub"
}
end_hub() {
    local input=${hub[1]}
    exec {input}>&-
    wait "$hub_process"
}

test_hub() {
    step "building an image with extras and a model of the Hub"
    start_hub
    build textclf-hub --build-arg EXTRAS=aws --build-arg "HUB_MODEL_NAME=$hub_model" --build-arg "HF_ENDPOINT=$hub_address"
    end_hub
    local container
    container=$(buildah from localhost/textclf-hub)
    say_size "$container"
    in_container "$container" -- python3 -c 'import boto3, huggingface_hub' || fail "expected the packages of both extras"

    step "it serves the model without a network"
    make_network
    start "$container" ""
    answer /predict application/json '{"text": "a great film"}' | tee "$work/predict"
    grep --quiet '"model":"tiny' "$work/predict" || fail "expected the name of the model of the Hub"
    stop
    remove_network
}
