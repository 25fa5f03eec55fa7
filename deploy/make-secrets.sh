#!/bin/sh
# Makes what docker-compose.yml asks for and does not ship: random passwords in deploy/secrets, and .env beside the
# compose file. What exists is kept, so it may be run again.
set -eu
cd "$(dirname "$0")/.."
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# The folder is closed; the files are open, because a container's user is not the one who made them.
mkdir -p deploy/secrets
chmod 700 deploy/secrets
for name in redis_password cassandra_password cassandra_admin_password grafana_password minio_password; do
  [ -s "deploy/secrets/$name" ] || random > "deploy/secrets/$name"
  chmod 444 "deploy/secrets/$name"
done

if [ ! -e .env ]; then
  (
    umask 077
    printf 'COMPOSE_PROJECT_NAME=im\nSECRETS_DIR=./deploy/secrets\nIM_OWNER_PASSWORD=%s\nIM_METRICS_TOKEN=%s\n' "$(random)" "$(random)" > .env
  )
fi
echo 'deploy/secrets and .env are there. The password of the account owner is IM_OWNER_PASSWORD in .env.'
