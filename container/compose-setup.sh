#!/bin/sh
# What compose.yaml's `setup` does, with `mc`: bucket, policy, user, and the files of a first agent. Can be run again.
#
#   compose-setup.sh POLICY-FILE
#
# STORE, MINIO_ROOT_USER, MINIO_ROOT_PASSWORD, BUCKET, WORKER and WORKER_SECRET_KEY come from the environment. The worker's
# name is its access key. Nothing but `mc` and the shell is needed: there is hardly more in its image.
set -eu

policy_file=$1
export MC_CONFIG_DIR="${MC_CONFIG_DIR:-/tmp/mc}"
newline='
'

replaced() { # TEXT WORD BY
  rest=$1 done=
  while :; do
    case $rest in
      *"$2"*) done=$done${rest%%"$2"*}$3 rest=${rest#*"$2"} ;;
      *) break ;;
    esac
  done
  printf '%s' "$done$rest"
}

tries=60
until mc --quiet alias set store "$STORE" "$MINIO_ROOT_USER" "$MINIO_ROOT_PASSWORD"; do
  tries=$((tries - 1))
  [ "$tries" -gt 0 ] || { echo "$STORE does not answer, or takes other keys" >&2; exit 1; }
  sleep 1
done
mc --quiet mb --ignore-existing "store/$BUCKET"

policy=
while IFS= read -r line || [ -n "$line" ]; do policy=$policy$line$newline; done <"$policy_file"
policy=$(replaced "$policy" hiclaw-storage "$BUCKET")
policy=$(replaced "$policy" NAME "$WORKER")
policy=$(replaced "$policy" TEAM "${TEAM:-none}")
printf '%s\n' "$policy" | mc --quiet admin policy create store "worker-$WORKER" /dev/stdin
mc --quiet admin user add store "$WORKER" "$WORKER_SECRET_KEY"
# Fails where it is attached already, which is as good.
mc --quiet admin policy attach store "worker-$WORKER" --user "$WORKER" || mc --quiet admin user info store "$WORKER"

seed() { # NAME TEXT
  mc --quiet stat "store/$BUCKET/agents/$WORKER/$1" >/dev/null 2>&1 ||
    printf '%s\n' "$2" | mc --quiet pipe "store/$BUCKET/agents/$WORKER/$1"
}
seed openclaw.json '{"gateway": {"mode": "local", "bind": "loopback"}}'
seed SOUL.md "# $WORKER"
seed AGENTS.md "# Agents"
