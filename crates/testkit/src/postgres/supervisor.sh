# Runs a throw-away server, or a pooler, in a new folder. Arguments: the parent of that folder, the folder of PostgreSQL's
# programs, and optionally another folder for the server's data. Prints the path of the new folder.
#
# Each line of standard input is an order. Each order is answered by a line: `done` or `failed`. Standard input ends with the
# test process, even if that is killed. Then all processes are stopped, and the folder is removed.
set -u
export PATH="$2:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
folder=$(mktemp -d "$1/stackbell-postgres-XXXXXX") || exit 1
cd "$folder" || exit 1
# The data folder is removed together with its disk.
[ -z "${3-}" ] || ln -s "$(mktemp -d "$3/data-XXXXXX")" data || exit 1
exec 2>orders.log
server=
bouncer=
# A signal interrupts the reading of orders. Child processes do not inherit this trap.
trap : HUP INT TERM
echo "$folder"

# The locale sorts letters differently from bytes, so that tests notice code that depends on the order of bytes.
initialize() {
    initdb --pgdata data --username postgres --auth trust --no-sync --encoding UTF8 --locale C.UTF-8 \
        --locale-provider icu --icu-locale en-US >/dev/null
}

# Copies the server at port $1, which keeps the missing log for this standby in the replication slot $2.
copy() {
    pg_basebackup --pgdata data --host 127.0.0.1 --port "$1" --username postgres --no-password --no-sync \
        --checkpoint fast --wal-method stream --write-recovery-conf --create-slot --slot "$2"
}

# The server is a child process, so that this script reaps it: not every machine reaps orphans.
# `data/postmaster.pid` shows when it is ready. The file of an earlier server may still exist.
start() {
    # An earlier server may have reported its end, and still be exiting.
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

# Starts a pooler on port $1 in front of the server at port $2. Each transaction gets a free connection.
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
    # A test may have paused the server.
    kill -CONT "$process"
    stop immediate 20 || kill -KILL "$process"
fi
wait
cd / && rm -rf "$folder"
