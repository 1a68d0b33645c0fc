#!/bin/bash
# Writes the archive of classes that the server loads, by serving once: archive.sh OUTPUT. A start with it takes a third of
# the time. What a first search, script and pipeline need is in it too.
set -euo pipefail

output=$(realpath "$1")
scratch=$(mktemp -d)
chown opensearch "$scratch"

# ask METHOD PATH [BODY]: the answer of the server; fails when it is none with 2xx.
ask() {
    local status answer
    exec 3<>"/dev/tcp/127.0.0.1/$port" || return
    printf '%s %s HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %s\r\n\r\n%s' "$1" "$2" "${#3}" "$3" >&3
    answer=$(cat <&3)
    exec 3>&-
    status=${answer#* }
    [[ ${status:0:1} == 2 ]] || { echo "$1 $2: $answer" >&2; return 1; }
}

export OPENSEARCH_JAVA_OPTS="-XX:ArchiveClassesAtExit=$scratch/archive"
# On ports that the kernel picks: a build is in the machine's own network, where somebody may serve on the usual ones.
setpriv --reuid opensearch --regid opensearch --clear-groups env discovery.type=single-node network.host=127.0.0.1 \
    http.port=0 transport.port=0 path.data="$scratch/data" bash /usr/local/bin/entrypoint.sh > "$scratch/log" 2>&1 &
server=$!
trap 'cat "$scratch/log"' ERR
port=
for ((i = 0; i < 900 && ${#port} == 0; i++)); do
    kill -0 "$server"
    sleep 0.2
    port=$(sed -nE '/HttpServerTransport/s/.*publish_address \{127\.0\.0\.1:([0-9]+)\}.*/\1/p' "$scratch/log")
done
ask GET '/_cluster/health?wait_for_status=yellow&timeout=60s' ''
ask PUT /_ingest/pipeline/warm '{"processors": [{"set": {"field": "seen", "value": true}}]}'
ask PUT /_index_template/warm '{"index_patterns": ["warm*"], "template": {"settings": {"number_of_replicas": 0}}}'
ask POST '/_bulk?refresh=true&pipeline=warm' $'{"index": {"_index": "warm"}}\n{"text": "one two", "number": 1, "vector": [1, 2]}\n'
ask POST /warm/_search '{"query": {"script_score": {"query": {"match": {"text": "one"}}, "script": {"source": "doc[\"number\"].value * params.by", "params": {"by": 2}}}}, "aggs": {"n": {"avg": {"field": "number"}}}}'
ask GET '/_cluster/state?expand_wildcards=all' ''
ask GET '/_stats?level=shards' ''
ask DELETE /warm ''
kill "$server"
wait "$server" || [[ $? == 143 ]]
install -m 0644 "$scratch/archive" "$output"
rm -rf "$scratch"
