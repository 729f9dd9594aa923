#!/usr/bin/env bash
# fuzz.sh TIME: runs every fuzz target of the module for TIME each, one after the other.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
time=${1:-10s}
found=0
while IFS=: read -r file target; do
  found=$((found + 1))
  echo "== $target in $(dirname "$file") for $time"
  go test "./$(dirname "$file")" -run '^$' -fuzz "^$target\$" -fuzztime "$time"
done < <(git ls-files --cached --others --exclude-standard '*_test.go' |
  xargs grep -Ho '^func Fuzz[A-Za-z0-9_]*' | sed 's/:func /:/')
echo "fuzz: $found targets, nothing found"
