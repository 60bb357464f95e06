#!/usr/bin/env bash
# Runs a script of the browser tests in a network namespace of its own: nothing of it is seen on
# this host's networks. Wants root, Chromium, Node.js and `npm ci` in this folder.
set -euo pipefail
cd "$(dirname "$0")/../.."
script=${1:-tests/browser/all.mjs}
exec unshare -n bash -c 'ip link set lo up && exec node "$@"' bash "$script" "${@:2}"
