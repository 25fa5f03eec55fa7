#!/bin/bash
# Takes the account `cassandra`, whose password everyone knows, out of service; makes `im_admin` for people and `im`,
# which may make its keyspace and no more, for the servers. May be run again: the password of `im` follows its file.
set -euo pipefail

host=${CASSANDRA_HOST:-cassandra1}
port=${CASSANDRA_PORT:-9042}
datacenter=${CASSANDRA_DC:-datacenter1}
replication=${CASSANDRA_REPLICATION:-3}
secrets=${SECRETS:-/run/secrets}
own=$(cat "$secrets/cassandra_password")
admin=$(cat "$secrets/cassandra_admin_password")
[[ $own$admin =~ ^[A-Za-z0-9._-]+$ ]] || { echo 'The passwords may hold letters, digits, ".", "_" and "-" only.' >&2; exit 1; }

# The password is neither in the list of processes nor in the log.
credentials=$(mktemp)
trap 'rm -f "$credentials"' EXIT
ask() {
  printf '[PlainTextAuthProvider]\nusername = %s\npassword = %s\n' "$1" "$2" > "$credentials"
  cqlsh --credentials="$credentials" --username="$1" "$host" "$port"
}

logs_in() { ask "$1" "$2" <<< 'SELECT release_version FROM system.local;' > /dev/null 2>&1; }

if ! logs_in im_admin "$admin"; then
  # Accounts first get their replicas, then are written: none has to be repaired.
  ask cassandra cassandra <<CQL
ALTER KEYSPACE system_auth WITH replication = {'class': 'NetworkTopologyStrategy', '$datacenter': $replication};
CREATE ROLE IF NOT EXISTS im_admin WITH SUPERUSER = true AND LOGIN = true AND PASSWORD = '$admin';
CQL
fi
ask im_admin "$admin" <<CQL
ALTER ROLE cassandra WITH SUPERUSER = false AND LOGIN = false;
CREATE ROLE IF NOT EXISTS im WITH LOGIN = true AND PASSWORD = '$own';
GRANT CREATE ON ALL KEYSPACES TO im;
CQL
# Not without need: Cassandra refuses two passwords for one account within 5 s.
logs_in im "$own" || ask im_admin "$admin" <<< "ALTER ROLE im WITH PASSWORD = '$own';"
echo 'The accounts im_admin and im are there; cassandra cannot log in.'
