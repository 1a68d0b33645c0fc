#!/bin/bash
# OpenSearch with the interface of the official image: settings as variables (`cluster.name`) or as `-Ename=value`,
# OPENSEARCH_JAVA_OPTS; any other command is run as it is. bash, since dash drops variables with a dot in their name.
set -euo pipefail

readonly home=/usr/share/opensearch archive=/usr/share/opensearch/lib/opensearch.jsa

[[ $# -gt 0 && ${1:0:1} != - ]] || set -- opensearch "$@"
[[ $1 == opensearch ]] || exec "$@"
shift
if [[ ${DISABLE_SECURITY_PLUGIN:-true} != true ]]; then
    echo "opensearch image: there is no security plugin in it: set DISABLE_SECURITY_PLUGIN=true" >&2
    exit 1
fi
umask 0027
# C1 alone and one thread for the garbage: what is tested lives for minutes, and starts in half the time.
jvm=(-Xms512m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError)
[[ ! -e $archive ]] || jvm+=(-XX:SharedArchiveFile="$archive")
jvm+=(-XX:-UsePerfData -Djava.awt.headless=true -Dlog4j.shutdownHookEnabled=false -Dlog4j2.disable.jmx=true)
jvm+=(-Dio.netty.noUnsafe=true -Dio.netty.noKeySetOptimization=true -Dio.netty.recycler.maxCapacityPerThread=0)
read -ra asked <<< "${OPENSEARCH_JAVA_OPTS:-}"
# Sorted: the archive of classes is only taken for the path that it was made with.
printf -v classpath '%s:' "$home"/lib/*.jar
exec /opt/java/bin/java "${jvm[@]}" "${asked[@]}" -cp "${classpath%:}" Server "$@"
