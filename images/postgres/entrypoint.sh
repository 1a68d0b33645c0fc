#!/bin/bash
# First start: copies the cluster made at build time, names its superuser and database, sets the password, runs
# /docker-entrypoint-initdb.d. Interrupted at any point, the next start begins anew. Then PostgreSQL, fast to stop.
set -euo pipefail

readonly template=/var/lib/postgresql/template
readonly unfinished=$PGDATA/.first-start

fail() {
    echo "postgres image: $*" >&2
    exit 1
}

main() {
    [[ ${1:-} != -* ]] || set -- postgres "$@"
    [[ ${1:-} == postgres ]] || exec "$@"
    if [[ -e $unfinished || ! -e $PGDATA/PG_VERSION ]]; then
        first_start
    fi
    serve "$@"
}

first_start() {
    from_file_or_variable POSTGRES_PASSWORD
    from_file_or_variable POSTGRES_USER postgres
    from_file_or_variable POSTGRES_DB "$POSTGRES_USER"
    [[ -n $POSTGRES_PASSWORD ]] || fail "POSTGRES_PASSWORD is empty: set it, or POSTGRES_PASSWORD_FILE"
    [[ -z ${POSTGRES_INITDB_ARGS:-} ]] || fail "POSTGRES_INITDB_ARGS is set, but the cluster is made at build time"
    if [[ ! -e $unfinished && -n $(ls -A "$PGDATA" 2>&1) && $(ls -A "$PGDATA") != lost+found ]]; then
        fail "$PGDATA holds files but no cluster: mount an empty volume"
    fi
    : > "$unfinished"
    find "$PGDATA" -mindepth 1 ! -path "$unfinished" ! -name lost+found -delete
    cp -a "$template/." "$PGDATA/"
    chmod 0700 "$PGDATA"
    name_owner
    run_scripts
    rm "$unfinished"
}

# from_file_or_variable NAME [DEFAULT]: the value of NAME, or the content of the file that NAME_FILE names.
from_file_or_variable() {
    local name=$1 file=${1}_FILE
    [[ -z ${!name:-} || -z ${!file:-} ]] || fail "$name and $file are both set: give one"
    if [[ -n ${!file:-} ]]; then
        printf -v "$name" '%s' "$(< "${!file}")"
    fi
    printf -v "$name" '%s' "${!name:-${2:-}}"
    [[ ${!name} != *$'\n'* ]] || fail "$name holds a line break"
}

# In single-user mode, where each line is a statement: no server is to be seen until everything is as asked.
name_owner() {
    local user database password
    user=$(quoted '"' "$POSTGRES_USER") database=$(quoted '"' "$POSTGRES_DB") password=$(quoted "'" "$POSTGRES_PASSWORD")
    local statements=() log
    if [[ $POSTGRES_USER != postgres ]]; then
        # A session's own user cannot be renamed, so another one does it.
        statements+=(
            "CREATE ROLE first_start SUPERUSER" "SET SESSION AUTHORIZATION first_start"
            "ALTER ROLE postgres RENAME TO $user" "SET SESSION AUTHORIZATION $user" "DROP ROLE first_start"
        )
    fi
    statements+=("ALTER ROLE $user PASSWORD $password")
    if [[ $POSTGRES_DB == postgres ]]; then
        statements+=("DROP DATABASE first_start")
    elif [[ $POSTGRES_DB != first_start ]]; then
        statements+=("ALTER DATABASE first_start RENAME TO $database")
    fi
    # -F: nothing of value is on the disk yet. log_statement: a password is in no log.
    log=$(printf '%s\n' "${statements[@]}" \
        | postgres --single -F -c log_min_error_statement=panic -c exit_on_error=on -D "$PGDATA" postgres 2>&1) \
        || fail "cannot set user, password and database: $log"
}

# quoted QUOTE TEXT: as SQL writes a name or a string.
quoted() {
    printf '%s' "$1${2//"$1"/"$1$1"}$1"
}

run_scripts() {
    local script
    shopt -s nullglob
    local scripts=(/docker-entrypoint-initdb.d/*)
    ((${#scripts[@]})) || return 0
    # On a socket of its own: nobody takes this server for the one that is ready.
    export PGHOST=/tmp PGUSER=$POSTGRES_USER PGDATABASE=$POSTGRES_DB
    pg_ctl --silent --wait -o "-F -c listen_addresses='' -k $PGHOST" start
    for script in "${scripts[@]}"; do
        echo "postgres image: running $script"
        case $script in
            *.sh) if [[ -x $script ]]; then "$script"; else . "$script"; fi ;;
            *.sql) psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet -f "$script" ;;
            *.sql.gz) gunzip -c "$script" | psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet ;;
            *) echo "postgres image: $script is neither .sh, .sql nor .sql.gz, ignored" ;;
        esac
    done
    pg_ctl --silent --wait --mode fast stop
    unset PGHOST PGUSER PGDATABASE
}

# PostgreSQL takes SIGTERM for "wait until the last client has gone"; whoever stops a container means "now, cleanly".
serve() {
    local server status
    unset POSTGRES_PASSWORD
    "$@" &
    server=$!
    trap 'kill -INT "$server"' TERM INT
    # `wait` returns at every signal; the server's end is what counts.
    while status=0; wait "$server" || status=$?; kill -0 "$server" 2>/dev/null; do :; done
    exit "$status"
}

main "$@"
