#!/usr/bin/env bash
# demo.sh: a C program in a virtual machine of its own, debugged by gdb. Shows
# the transcript, and fails if anything in it is not as it should be.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d)
payload_pid=
cleanup() {
  [[ -z $payload_pid ]] || kill "$payload_pid" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
die() { echo "demo: $*" >&2; exit 1; }

if [[ ! -r /dev/kvm || ! -w /dev/kvm ]]; then
  echo "demo: /dev/kvm can't be opened; kmdev doctor says:" >&2
  bin/kmdev doctor >&2 || true
  exit 1
fi

cat >"$work/payload.c" <<'C'
#include <stdio.h>

struct point { int x, y; };

static int area(struct point corner) {
  int result = corner.x * corner.y;
  return result;
}

static int fibonacci(int n) {
  if (n < 2) return n;
  return fibonacci(n - 1) + fibonacci(n - 2);
}

int main(void) {
  struct point corner = {6, 7};
  printf("area %d\n", area(corner));
  printf("fibonacci %d\n", fibonacci(10));
  return 3;
}
C

say "a C program"
cat -n "$work/payload.c"
gcc -g -O0 -static -o "$work/payload.km" "$work/payload.c"

say "kmdev run payload.km"
status=0
bin/kmdev run "$work/payload.km" | tee "$work/plain" || status=$?
echo "exit status $status"
[[ $status == 3 ]] || die "the payload's exit status is 3, kmdev's was $status"
grep -qx 'fibonacci 55' "$work/plain" || die "the payload printed something else"

say "kmdev run -g0 payload.km"
mkfifo "$work/hint"
bin/kmdev run -g0 "$work/payload.km" >"$work/stdout" 2>"$work/hint" &
payload_pid=$!
exec 3<"$work/hint"
IFS= read -r -t 60 hint <&3 || die "kmdev run -g0 printed no hint"
echo "$hint"
port=$(sed -n 's/.*localhost:\([0-9]*\).*/\1/p' <<<"$hint")
[[ -n $port ]] || die "no port in: $hint"

cat >"$work/session" <<GDB
set pagination off
set confirm off
set debuginfod enabled off
set sysroot /
target remote localhost:$port
break area
break fibonacci if n == 3
continue
backtrace
info locals
next
info locals
step
continue
backtrace
info args
info registers rip rsp
print \$xmm0.v4_int32
stepi
delete
continue
GDB

say "gdb"
# each command is echoed before its output, as in a terminal
while IFS= read -r command; do
  printf 'echo (gdb) %s\\n\n%s\n' "${command//\$/\$}" "$command"
done <"$work/session" >"$work/script"
timeout 120 gdb -nx -q -batch -x "$work/script" "$work/payload.km" 2>&1 | tee "$work/transcript"

status=0
wait "$payload_pid" || status=$?
payload_pid=
say "the payload's output"
cat "$work/stdout"
echo "exit status $status"

expect() { grep -Eq -- "$1" "$work/transcript" || die "the transcript has no \"$1\""; }
expect 'Breakpoint 1, area \(corner=\.\.\.\)'
expect '#1 .* main \(\)'
expect 'result = 42'
expect 'Breakpoint 2, fibonacci \(n=3\)'
expect '#7 .*fibonacci \(n=10\)'
expect '^n = 3'
expect 'rip .*fibonacci'
expect 'exited with code 03'
grep -qx 'fibonacci 55' "$work/stdout" || die "the debugged payload printed something else"
[[ $status == 3 ]] || die "the debugged payload's exit status was $status, not 3"
say "all as it should be"
