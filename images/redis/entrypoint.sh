#!/bin/sh
# `-p 1`, `some.conf`: options and files are redis-server's, as in the official image. Reachable from other containers:
# Redis of its own accord then answers nobody who is not on the same host, unless a password is set.
set -eu
case ${1:-} in
    -* | *.conf) set -- redis-server "$@" ;;
esac
umask 0077
if [ "$1" = redis-server ]; then
    shift
    set -- redis-server "$@" --protected-mode no
fi
exec "$@"
