# Keeps a throw-away server, or a pooler, in a folder of its own. Arguments: where that folder is made, and the folder of
# PostgreSQL's programs; where the server's data is to be, when that is elsewhere. Says on standard output which folder it
# made.
#
# Each line of standard input is an order, answered by a line: `done` or `failed`. Standard input ends with the test
# process, however that ends: then all is stopped, and the folder removed.
set -u
export PATH="$2:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
folder=$(mktemp -d "$1/stackbell-postgres-XXXXXX") || exit 1
cd "$folder" || exit 1
# What is there goes with the disk that it is on.
[ -z "${3-}" ] || ln -s "$(mktemp -d "$3/data-XXXXXX")" data || exit 1
exec 2>orders.log
server=
bouncer=
# A signal ends the reading of orders; what is started here does not inherit this.
trap : HUP INT TERM
echo "$folder"

# Another order of letters than that of bytes: what must not depend on it, does not.
initialize() {
    initdb --pgdata data --username postgres --auth trust --no-sync --encoding UTF8 --locale C.UTF-8 \
        --locale-provider icu --icu-locale en-US >/dev/null
}

# Of the server at port $1, which keeps for it under the name $2 what it has not got yet.
copy() {
    pg_basebackup --pgdata data --host 127.0.0.1 --port "$1" --username postgres --no-password --no-sync \
        --checkpoint fast --wal-method stream --write-recovery-conf --create-slot --slot "$2"
}

# As a child and not by itself, so that it is waited for: not every machine does that for those whose parent is gone.
# `data/postmaster.pid` says when it is ready; one from before may be there still.
start() {
    # One that ended by itself has said so before it is gone.
    [ -z "$server" ] || wait "$server"
    before=$(cat data/postmaster.pid 2>/dev/null)
    rm -f ended
    (
        postgres -D data >>server.log 2>&1
        touch ended
    ) &
    server=$!
    until [ "$(cat data/postmaster.pid 2>/dev/null)" != "$before" ] && grep -q '^ready' data/postmaster.pid; do
        [ ! -e ended ] || return 1
        sleep 0.02
    done
}

stop() {
    pg_ctl --pgdata data --mode "$1" --wait --timeout "$2" stop >/dev/null && wait "$server"
}

# A pooler at port $1 before the server at port $2, each transaction on whichever connection is free.
pool() {
    if ! command -v pgbouncer >/dev/null; then
        echo "pgbouncer is not there: install Debian's package pgbouncer" >&2
        return 1
    fi
    cat >pgbouncer.ini <<END
[databases]
* = host=127.0.0.1 port=$2 user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $1
unix_socket_dir = $folder
auth_type = any
pool_mode = transaction
max_client_conn = 500
default_pool_size = 4
logfile = $folder/server.log
END
    pgbouncer --quiet pgbouncer.ini >/dev/null &
    bouncer=$!
}

obey() {
    order=$1
    shift
    case $order in
    initialize) initialize ;;
    copy) copy "$@" ;;
    set) echo "$*" >>data/postgresql.conf ;;
    start) start ;;
    stop) stop "$1" 60 ;;
    promote) pg_ctl --pgdata data --wait --timeout 60 promote >/dev/null ;;
    pool) pool "$@" ;;
    *) echo "no such order: $order" >&2 && false ;;
    esac
}

while read -r line; do
    # shellcheck disable=SC2086 # an order and its words
    if obey $line </dev/null; then echo "done"; else echo "failed"; fi
done

[ -z "$bouncer" ] || kill -KILL "$bouncer"
if [ -f data/postmaster.pid ]; then
    process=$(head -n 1 data/postmaster.pid)
    # A test may have stopped it in the middle of something.
    kill -CONT "$process"
    stop immediate 20 || kill -KILL "$process"
fi
wait
cd / && rm -rf "$folder"
