# Steps in the server's container: `sh -c "$(cat this)" sh STEP`. The variables are those of the official image.
# Nothing of ours fires a trigger.
export PGUSER="${POSTGRES_USER:-postgres}" PGPASSWORD="${POSTGRES_PASSWORD:-}" PGAPPNAME=ephemera
export PGDATABASE="${POSTGRES_DB:-$PGUSER}"
export PGOPTIONS='-c client_min_messages=warning -c statement_timeout=0 -c session_replication_role=replica'

sql() { psql -XqAt -v ON_ERROR_STOP=1 "$@"; }

# with_definition STATEMENT: run it with the definition of all schemas but ours in a variable. Newer versions mark each
# dump with a random key.
with_definition() {
    printf '%s\n' '\set definition `pg_dump -s -N ephemera | grep -v "^.restrict \|^.unrestrict "`' "$1" | sql -f -
}

keep() { with_definition "SELECT ephemera.keep(:'definition')"; }

is_kept() { [ "$(sql -c 'SELECT dump IS NOT NULL FROM ephemera.ready')" = t ]; }

is_new() { [ "$(sql -c 'SELECT is_new FROM ephemera.ready')" = t ]; }

# Create an empty database `ephemera_building`, of the same encoding and locale as the service's.
building() {
    sql -d postgres -c 'DROP DATABASE IF EXISTS ephemera_building WITH (FORCE)'
    sql -c "SELECT format('CREATE DATABASE ephemera_building TEMPLATE template0 ENCODING %L LC_COLLATE %L LC_CTYPE %L;',
        pg_encoding_to_char(encoding), datcollate, datctype) FROM pg_database WHERE datname = current_database()" |
        sql -d postgres -f -
}

# If the saved database was new, its definition is that of a new one.
define() {
    if is_new && ! is_kept; then
        building &&
            printf '%s\n' '\set definition `pg_dump -s ephemera_building | grep -v "^.restrict \|^.unrestrict "`' \
                "UPDATE ephemera.ready SET dump = :'definition'" | sql -f - &&
            sql -d postgres -c 'DROP DATABASE ephemera_building'
    fi
}

# rebuild DATABASE [STATEMENT]: rebuild all of it, in one transaction that begins with the statement.
rebuild() {
    {
        echo "BEGIN; $2 SELECT ephemera.clear();"
        sql -c 'SELECT dump FROM ephemera.ready'
        echo 'SELECT ephemera.refill(); COMMIT;'
    } | sql -d "$1" -f - > /dev/null
}

# Standard input: the statements to run.
remember() {
    # All input is read first: Docker may lose the output of a command that ends before it.
    statements=$(cat)
    printf '%s\n' "$statements" | sql -f - || exit
    keep_later
}

# The definition is saved in the background: only a changed schema needs it.
keep_later() {
    # The command's output ends when all its holders are gone: with `keep > …` a shell would keep a copy of it.
    { exec > /dev/null 2>&1 < /dev/null; is_new || keep; } &
}

restore() { sql -c 'SELECT ephemera.restore()'; }

# Print whether the schema is exactly what it was, and how many clients were disconnected.
anew() {
    define && rebuild "$PGDATABASE" 'SELECT ephemera.drop_roles();' &&
        with_definition "SELECT dump = :'definition', ephemera.disconnect() FROM ephemera.ready"
}

# Create a tablespace in memory unless it exists or the image has no folder for it. A restart empties the folder, so
# databases in it are gone.
memory() {
    [ -O /databases ] || return 0
    if [ -z "$(ls /databases)" ]; then
        sql -c "SELECT format('DROP DATABASE %I WITH (FORCE);', datname) FROM pg_database
            JOIN pg_tablespace t ON t.oid = dattablespace WHERE spcname = 'ephemera'" | sql -d postgres -f -
        sql -d postgres -c 'DROP TABLESPACE IF EXISTS ephemera' -c "CREATE TABLESPACE ephemera LOCATION '/databases'"
    fi
    echo ephemera
}

# Create the template unless it exists; print its name, and the tablespace in memory.
template() {
    set -e
    name=ephemera_template_$(sql -c 'SELECT generation FROM ephemera.ready')
    if [ "$(sql -c "SELECT count(*) FROM pg_database WHERE datname = '$name'")" = 0 ]; then
        define
        is_kept || { keep && is_kept; } || { echo 'ERROR: its schema was changed before it could be kept'; exit 1; }
        sql -c "SELECT format('DROP DATABASE %I WITH (FORCE);', datname) FROM pg_database
            WHERE datname ~ '^ephemera_template_'" | sql -d postgres -f -
        building
        pg_dump -n ephemera | sql -d ephemera_building -f - > /dev/null
        rebuild ephemera_building
        sql -d ephemera_building -c 'DROP SCHEMA ephemera CASCADE'
        sql -d postgres -c 'ALTER DATABASE ephemera_building ALLOW_CONNECTIONS false' \
            -c "ALTER DATABASE ephemera_building RENAME TO $name"
    fi
    tablespace=$(memory)
    echo "$name $tablespace"
}

"$@"
