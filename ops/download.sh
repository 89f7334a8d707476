#!/usr/bin/env bash
# Download data or an encoder, once; an interrupted download continues.
#
#   url=… [sha256=…] [text_column=…] [label_column=…] ops/download.sh data
#   handle=… ops/download.sh encoder
#
# For data it also writes datasets/data.toml, with which `make train` finds the data and its columns.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

toml_string() {
    case $1 in *[\"\\]*) fail "expected a name without quotes and backslashes, got $1" ;; esac
    printf '"%s"' "$1"
}

case ${1:-} in
    data)
        [ -n "${url:-}" ] || fail "expected url=ADDRESS, got none"
        file=${url%%[?#]*}
        file=${file##*/}
        in_training initializing.py download "$file" --url "$url" --data-dir datasets ${sha256:+--sha256 "$sha256"}
        {
            echo "# Written by make download_data. make train reads it."
            echo "dataset_path = $(toml_string "$file")"
            if [ -n "${text_column:-}" ]; then echo "text_column = $(toml_string "$text_column")"; fi
            if [ -n "${label_column:-}" ]; then echo "label_column = $(toml_string "$label_column")"; fi
        } >"$workspace/$data_config.tmp"
        mv "$workspace/$data_config.tmp" "$workspace/$data_config"
        say "$workspace/$data_config names the data for make train"
        ;;
    encoder)
        : "${handle:?}"
        mount_path handle
        in_training make_model.py preview --encoder "$handle" --max-length 16 --text "A text."
        say "the encoder is in $encoder_cache"
        ;;
    *) fail "expected data or encoder, got ${1:-nothing}" ;;
esac
