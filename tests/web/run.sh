#!/usr/bin/env bash
# One script against the page's server of a fresh daemon, in a network namespace of its own:
#   tests/web/run.sh hostile | load | openapi [KLATSCH]
# `load` starts ngircd (Debian) beside it; `openapi` wants schemathesis (PyPI) at $SCHEMATHESIS.
set -euo pipefail
cd "$(dirname "$0")/../.."
what=${1:?hostile, load or openapi}
[ -z "${SCHEMATHESIS:-}" ] || SCHEMATHESIS=$(realpath "$SCHEMATHESIS")
binary=$(realpath "${2:-target/debug/klatsch}")
if [ -z "${KLATSCH_INSIDE:-}" ]; then
    KLATSCH_INSIDE=1 exec unshare -n -- "$0" "$what" "$binary"
fi
ip link set lo up
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
export HOME=$folder XDG_RUNTIME_DIR=$folder
unset XDG_STATE_HOME XDG_CONFIG_HOME
cat >"$folder/settings.toml" <<T
handle = "box"
[web]
guests = 31
operator-pin = "4711"
T
"$binary" run --config "$folder/settings.toml" 2>"$folder/log" &
export KLATSCH_PID=$!
for _ in $(seq 100); do
    python3 - <<'P' && break
import urllib.request
urllib.request.urlopen("http://127.0.0.1:8484/healthz")
P
    sleep 0.1
done 2>/dev/null
case $what in
hostile) python3 tests/web/hostile.py ;;
load)
    if command -v ngircd >/dev/null; then
        printf '[Global]\nName = irc.test\nListen = 127.0.0.1\nPorts = 6667\n[Limits]\nMaxConnectionsIP = 0\n[Options]\nDNS = no\nIdent = no\nPAM = no\n' >"$folder/ngircd.conf"
        ngircd --nodaemon --config "$folder/ngircd.conf" >"$folder/ngircd.log" 2>&1 &
        export NGIRCD_PID=$!
        sleep 1
    fi
    python3 tests/web/load.py
    ;;
openapi)
    jar=$folder/jar
    curl -sf -c "$jar" -H 'Content-Type: application/json' -d '{"handle":"tester"}' http://127.0.0.1:8484/api/v1/session >/dev/null
    curl -sf -b "$jar" -c "$jar" -H 'Content-Type: application/json' -d '{"pin":"4711"}' http://127.0.0.1:8484/api/v1/operator >/dev/null
    curl -sf --compressed http://127.0.0.1:8484/api/v1/openapi.json >"$folder/openapi.json"
    cookies=$(awk '!/^# / && NF > 6 {printf "%s%s=%s", s, $6, $7; s = "; "}' "$jar")
    # the stream of events has no end, leaving and restarting end the test itself
    cd "$folder" && "${SCHEMATHESIS:-schemathesis}" run "$folder/openapi.json" --url http://127.0.0.1:8484 \
        -H "Cookie: $cookies" --exclude-path /api/v1/events --exclude-path /api/v1/restart \
        --exclude-method DELETE --exclude-path '/api/v1/guests/{id}' \
        --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
        --max-examples "${EXAMPLES:-25}" --seed 7 --rate-limit=45/s --no-color --phases examples,coverage,fuzzing
    ;;
esac
