#!/bin/sh
# What positions cost by how long they wait: builds a copy of the sources for each pause, and measures it. Needs what
# `npm run bench -- --nodes 1` needs. Usage, from the root: sh docs/decisions/scripts/positions.sh [ms …]
set -e
[ $# -gt 0 ] || set -- 200 1000 2000 10000
root=$(pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git archive HEAD | tar -x -C "$copy"
ln -s "$root/node_modules" "$copy/node_modules"
cd "$copy"
cp broker/record.ts "$copy/record.before"
for pause in "$@"; do
  sed "s/^const SHARED_FLUSH_MS = .*/const SHARED_FLUSH_MS = $pause/" record.before > broker/record.ts
  npm run build --silent
  printf '{"after_ms":%s}\n' "$pause"
  npm run bench --silent -- --nodes 1 --only paced --members 20 --rate 20 --seconds 30 --warm-up 60 | grep '"workload"'
done
