#!/usr/bin/env bash
# Uses an S3 endpoint with rclone and s5cmd, as their users do: up, list, compare, sync, down, remove, odd names included.
#
# usage: serve_peers.sh [ENDPOINT ACCESS_KEY SECRET_KEY]     (or S3_ENDPOINT, S3_ACCESS_KEY, S3_SECRET_KEY)
#
# The tools are taken from RCLONE and S5CMD, else from PATH. A missing one is reported as SKIPPED, and the exit code is 77.
# Exits 0 after "ok rclone" and "ok s5cmd".
set -euo pipefail

endpoint=${1:-${S3_ENDPOINT:?}}
access_key=${2:-${S3_ACCESS_KEY:?}}
secret_key=${3:-${S3_SECRET_KEY:?}}
rclone=${RCLONE:-rclone}
s5cmd=${S5CMD:-s5cmd}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
suffix=$(basename "$work" | tr -dc a-zA-Z0-9 | tr A-Z a-z)
status=0

fail() {
    echo "failed: $*" >&2
    exit 1
}

# A tree with small and big files, names that are awkward in URLs and XML, and a file beside a directory of nearly its name.
make_tree() {
    local tree=$1
    mkdir -p "$tree/deep/er/still" "$tree/a-b" "$tree/with space"
    printf one >"$tree/one.txt"
    : >"$tree/empty"
    printf plus >"$tree/a+b"
    printf percent >"$tree/100%25 sure"
    printf quote >"$tree/it's \"quoted\" & <tagged>"
    printf hash >"$tree/hash#and?question"
    printf emoji >"$tree/emoji-😀-ü"
    printf space >"$tree/with space/ in front"
    printf dots >"$tree/..two dots"
    printf under >"$tree/deep/er/still/below"
    printf long >"$tree/$(printf 'n%.0s' $(seq 200))"
    printf near >"$tree/a-b.txt"
    printf in >"$tree/a-b/in"
    head -c 70000 /dev/urandom >"$tree/deep/medium.bin"
    head -c 12000000 /dev/urandom >"$tree/deep/large.bin"
    for number in $(seq 60); do printf '%s' "$number" >"$tree/deep/er/file-$number"; done
}

same() {
    diff -r "$1" "$2" || fail "$1 and $2 differ"
}

use_rclone() {
    export RCLONE_CONFIG="$work/rclone.conf"
    cat >"$RCLONE_CONFIG" <<EOF
[store]
type = s3
provider = Other
endpoint = $endpoint
access_key_id = $access_key
secret_access_key = $secret_key
region = us-east-1
force_path_style = true
upload_cutoff = 8Mi
chunk_size = 5Mi
EOF
    local bucket=rclone-$suffix tree="$work/tree"
    local run=("$rclone" --retries 1 --low-level-retries 2)
    "${run[@]}" mkdir "store:$bucket"
    "${run[@]}" sync "$tree" "store:$bucket/up"
    "${run[@]}" check "$tree" "store:$bucket/up"
    "${run[@]}" check --download "$tree" "store:$bucket/up"
    [ "$("${run[@]}" size --json "store:$bucket/up" | tr -d ' ' | grep -o '"count":[0-9]*')" = "\"count\":$(find "$tree" -type f | wc -l)" ] || fail "rclone size"
    "${run[@]}" lsf "store:$bucket/up" | grep -x 'deep/' >/dev/null || fail "rclone lists no directory"
    # Nothing is left to do, times included.
    "${run[@]}" sync --dry-run "$tree" "store:$bucket/up" 2>&1 | grep -i "skipped copy" && fail "a second sync would copy"
    "${run[@]}" sync "store:$bucket/up" "$work/rclone-down"
    same "$tree" "$work/rclone-down"
    "${run[@]}" copy "store:$bucket/up" "store:$bucket/copied"
    "${run[@]}" check "store:$bucket/up" "store:$bucket/copied"
    printf changed >"$work/rclone-down/one.txt"
    rm -r "$work/rclone-down/deep/er"
    "${run[@]}" sync "$work/rclone-down" "store:$bucket/up"
    "${run[@]}" sync "store:$bucket/up" "$work/rclone-again"
    same "$work/rclone-down" "$work/rclone-again"
    [ "$("${run[@]}" cat "store:$bucket/up/one.txt")" = changed ] || fail "rclone cat"
    printf streamed | "${run[@]}" rcat "store:$bucket/up/rcat"
    [ "$("${run[@]}" cat --offset 2 --count 3 "store:$bucket/up/rcat")" = rea ] || fail "rclone rcat and a range"
    "${run[@]}" moveto "store:$bucket/up/rcat" "store:$bucket/up/moved"
    "${run[@]}" deletefile "store:$bucket/up/moved"
    "${run[@]}" cleanup "store:$bucket"
    "${run[@]}" purge "store:$bucket"
    "${run[@]}" lsd store: | grep "$bucket" >/dev/null && fail "the bucket is still there"
    echo "ok rclone"
}

use_s5cmd() {
    export AWS_ACCESS_KEY_ID=$access_key AWS_SECRET_ACCESS_KEY=$secret_key AWS_REGION=us-east-1 S3_ENDPOINT_URL=$endpoint
    export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
    local bucket=s5cmd-$suffix tree="$work/tree"
    local run=("$s5cmd" --retry-count 1 --log error)
    "${run[@]}" mb "s3://$bucket"
    "${run[@]}" cp --part-size 5 "$tree/" "s3://$bucket/up/"
    [ "$("$s5cmd" ls "s3://$bucket/up/*" | wc -l)" = "$(find "$tree" -type f | wc -l)" ] || fail "s5cmd ls"
    "$s5cmd" ls "s3://$bucket/up/" | grep 'DIR.*deep/' >/dev/null || fail "s5cmd lists no directory"
    "${run[@]}" cp "s3://$bucket/up/*" "$work/s5cmd-down/"
    same "$tree" "$work/s5cmd-down"
    cp -r "$tree" "$work/s5cmd-tree"
    printf 'longer than before' >"$work/s5cmd-tree/one.txt"
    rm -r "$work/s5cmd-tree/deep/er"
    "${run[@]}" sync --delete "$work/s5cmd-tree/" "s3://$bucket/up/"
    # A second one has nothing to send.
    [ -z "$("$s5cmd" sync --delete "$work/s5cmd-tree/" "s3://$bucket/up/")" ] || fail "a second sync does something"
    mkdir "$work/s5cmd-again"
    "${run[@]}" sync "s3://$bucket/up/*" "$work/s5cmd-again/"
    same "$work/s5cmd-tree" "$work/s5cmd-again"
    [ "$("$s5cmd" cat "s3://$bucket/up/one.txt")" = 'longer than before' ] || fail "s5cmd cat"
    "$s5cmd" head "s3://$bucket/up/one.txt" >/dev/null
    "${run[@]}" cp "s3://$bucket/up/one.txt" "s3://$bucket/copied"
    "${run[@]}" mv "s3://$bucket/copied" "s3://$bucket/moved"
    printf piped | "${run[@]}" pipe "s3://$bucket/piped"
    [ "$("$s5cmd" cat "s3://$bucket/piped")" = piped ] || fail "s5cmd pipe"
    "$s5cmd" du "s3://$bucket/*" >/dev/null
    "${run[@]}" rm "s3://$bucket/*"
    "${run[@]}" rb "s3://$bucket"
    echo "ok s5cmd"
}

make_tree "$work/tree"
for tool in rclone s5cmd; do
    if command -v "${!tool}" >/dev/null; then
        "use_$tool"
    else
        echo "SKIPPED $tool: not found"
        status=77
    fi
done
exit "$status"
