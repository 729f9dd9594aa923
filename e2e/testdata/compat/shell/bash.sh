# What bash has beyond POSIX.
shopt -s lastpipe extglob
diff <(seq 1 5) <(seq 1 6); echo "diff $?"
tee >(cksum > sum) < <(seq 100) >/dev/null; wait $!; cat sum
coproc UPPER { tr 'a-z' 'A-Z'; }
echo coprocess >&"${UPPER[1]}"; eval "exec ${UPPER[1]}>&-"; read -r up <&"${UPPER[0]}"; echo "$up"; wait
true | false | (exit 3) | cat; echo "${PIPESTATUS[*]}"
set -o pipefail; true | (exit 4) | true; echo "pipefail $?"; set +o pipefail
seq 3 | while read -r n; do ((sum += n)); done; echo "lastpipe $sum"
trap 'echo "err at $LINENO"' ERR; false; trap - ERR
trap 'echo chld' CHLD; (exit 1); trap - CHLD
trap 'echo debug' DEBUG; :; trap - DEBUG
set -m
sleep 100 & one=$!; sleep 200 & two=$!
jobs -l | sed 's| *[0-9]\{1,\} | PID |'
kill -STOP %1; wait -n -f 2>/dev/null & wait $!
while [[ $(jobs -s) != *Stopped* ]]; do :; done
jobs | sed 's/  */ /g'
bg %1 >/dev/null; jobs -r | wc -l
kill %1 %2; wait $one; echo "job1 $?"; wait $two; echo "job2 $?"
set +m
for i in {1..20}; do (exit $((i % 3))) & pids[i]=$!; done
bad=0; for p in "${pids[@]}"; do wait "$p" || ((bad++)); done; echo "bad $bad"
declare -A m=([a]=1 [b]=2); for k in a b; do echo "$k=${m[$k]}"; done
mapfile -t lines < <(printf '%s\n' one two three); echo "${#lines[@]} ${lines[1]}"
read -r -t 5 word <<< "here string"; echo "$word"
timeout -s TERM 0.2 sleep 50; echo "timeout $?"
printf '%s\n' {1..50} | xargs -P 4 -n 5 sh -c 'echo $# >> counts' sh; wc -l < counts
echo "$BASH_SUBSHELL $(echo $BASH_SUBSHELL)"
exec 5<>/dev/tcp/127.0.0.1/1 2>/dev/null; echo "tcp $?"
kill -TERM $$
