#!/usr/bin/env bash
# lint.sh STATICCHECK: gofmt, go vet, staticcheck, and the import and source rules.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CGO_ENABLED=0
failed=0

unformatted=$(git ls-files --cached --others --exclude-standard '*.go' | while read -r f; do [[ -e $f ]] && echo "$f"; done | xargs gofmt -l)
if [[ -n $unformatted ]]; then
  printf 'gofmt: not formatted (run make fmt):\n%s\n' "$unformatted"
  failed=1
fi

# unsafeptr has no meaning where payload addresses become pointers: those files are named *_unsafe.go
# (source_test.go sees to that), everything else is checked for it.
go vet -unsafeptr=false ./... || failed=1
unsafe_pointers=$(go vet -unsafeptr ./... 2>&1 | grep 'possible misuse of unsafe.Pointer' | grep -v '_unsafe\(_test\)\?\.go:' || true)
if [[ -n $unsafe_pointers ]]; then
  printf '%s\n' "$unsafe_pointers"
  failed=1
fi

"$1" ./... || failed=1
go test -count=1 . || failed=1
for s in scripts/*.sh .ci/run; do bash -n "$s" || failed=1; done

((failed == 0)) && echo "lint: ok"
exit "$failed"
