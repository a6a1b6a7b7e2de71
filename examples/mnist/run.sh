#!/usr/bin/env bash
# Train one run, serve what it published, ask the service one digit, go on serving until Ctrl-C.
#   run.sh RUN.toml      ONCE=1: stop after the answer. PORT (8000): where to serve. `clipmax` must be on the PATH.
set -euo pipefail

run=$1
port=${PORT:-8000}
here=$(dirname "$0")

# Before the training, not after it.
if ! python -c 'import socket, sys; socket.create_server(("127.0.0.1", int(sys.argv[1]))).close()' "$port" 2> /dev/null; then
    echo "run.sh: port $port cannot be used, another program may listen there; choose one: make run PORT=8001" >&2
    exit 1
fi

clipmax train "$run"

set -m # a process group of its own: Ctrl-C must reach the service once, as our TERM
clipmax serve --port "$port" --drain-delay-seconds 0 &
service=$!
set +m
stop() {
    kill -TERM "$service" 2> /dev/null || true
    wait "$service" || true
}
trap stop EXIT
trap 'exit 0' INT TERM

python "$here/first_answer.py" --url "http://127.0.0.1:$port" &
answer=$!
wait -n "$service" "$answer" || exit 1
if ! kill -0 "$service" 2> /dev/null; then
    kill "$answer" 2> /dev/null || true
    echo "run.sh: the service ended before it answered" >&2
    exit 1
fi

if [ "${ONCE:-}" = 1 ]; then
    exit 0
fi
echo "Serving on http://127.0.0.1:$port until Ctrl-C."
wait "$service"
