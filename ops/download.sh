#!/usr/bin/env bash
# Download data or an encoder, once; an interrupted download continues.
#
#   url=… [sha256=…] [text_column=…] [label_column=…] ops/download.sh data
#   handle=… ops/download.sh encoder
#
# For data it also writes datasets/data.toml, with which `make train` finds the data and its columns.
# datasets/.sources keeps the address of each file: another one with the same file name is refused.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

toml_string() {
    case $1 in *[\"\\[:cntrl:]]*) fail "expected a name without quotes, backslashes and line breaks, got ${1//[[:cntrl:]]/ }" ;; esac
    printf '"%s"' "$1"
}

# public_address URL: without its secret parts: user, password, query and fragment.
public_address() {
    local address=${1%%[?#]*}
    local rest=${address#*://}
    local host=${rest%%/*}
    printf '%s' "${address%"$rest"}${host##*@}${rest#"$host"}"
}

case ${1:-} in
    data)
        [ -n "${url:-}" ] || fail "expected url=ADDRESS, got none"
        file=${url%%[?#]*}
        file=${file##*/}
        address=$(public_address "$url")
        case ${address#*://} in
            */?*) [ -n "$file" ] || fail "expected url=ADDRESS with the name of a file at its end, got $address" ;;
            *) fail "expected url=ADDRESS with the name of a file at its end, got $address" ;;
        esac
        # Before the download, and outside of other commands, which would go on after a failure.
        dataset_path=$(toml_string "$file")
        text=$(toml_string "${text_column:-}")
        label=$(toml_string "${label_column:-}")
        sources=$workspace/datasets/.sources
        is_new=1
        if [ -f "$workspace/datasets/$file" ]; then
            is_new=
            known=$(cat "$sources/$file" 2>/dev/null) || known=
            if [ -z "$known" ]; then
                say "datasets/$file is used again, and its address is not known; delete it to download $address"
            elif [ "$known" != "$address" ]; then
                fail "expected data from $known, because datasets/$file is from there, got $address; delete the file first"
            fi
        fi
        in_training initializing.py download "$file" --url "$url" --data-dir datasets ${sha256:+--sha256 "$sha256"}
        if [ -n "$is_new" ]; then
            mkdir -p "$sources"
            printf '%s\n' "$address" >"$sources/$file.tmp"
            mv "$sources/$file.tmp" "$sources/$file"
        fi
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
