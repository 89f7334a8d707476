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
    case $1 in *[\"\\[:cntrl:]]*) fail "expected a name without quotes, backslashes and line breaks, got ${1//[[:cntrl:]]/ }" ;; esac
    printf '"%s"' "$1"
}

case ${1:-} in
    data)
        [ -n "${url:-}" ] || fail "expected url=ADDRESS, got none"
        file=${url%%[?#]*}
        file=${file##*/}
        # Before the download, and outside of other commands, which would go on after a failure.
        dataset_path=$(toml_string "$file")
        text=$(toml_string "${text_column:-}")
        label=$(toml_string "${label_column:-}")
        in_training initializing.py download "$file" --url "$url" --data-dir datasets ${sha256:+--sha256 "$sha256"}
        {
            echo "# Written by make download_data. make train reads it."
            echo "dataset_path = $dataset_path"
            if [ -n "${text_column:-}" ]; then echo "text_column = $text"; fi
            if [ -n "${label_column:-}" ]; then echo "label_column = $label"; fi
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
