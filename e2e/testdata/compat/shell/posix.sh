# What every POSIX shell must do alike: dash, bash, busybox sh and zsh --emulate sh run it.
set -u
say() { printf '%s\n' "$*"; }

# pipes
printf '%s\n' c a b | sort | tr 'a-z' 'A-Z' | while read -r l; do say "line $l"; done
seq 1 2000 | grep 7 | wc -l | tr -d ' '
yes | head -n 3
false | true; say "pipe status $?"
{ echo out; echo err >&2; } 2>&1 | sort
x=$(echo "$(echo nested "$(echo deeper)")"); say "$x"
echo back | (cat; exit 3); say "subshell $?"

# heredocs
name=world
cat <<EOF
hello $name $(echo sub)
  kept
EOF
cat <<'EOF' | tr -d '\n'; echo
raw $name `echo no`
EOF
cat <<-EOF
	tabs go
EOF
big=$(i=0; while [ $i -lt 4000 ]; do echo "line $i of a heredoc larger than a pipe holds"; i=$((i+1)); done)
cat <<EOF | cksum
$big
EOF

# traps
trap 'say "usr1 $?"' USR1
kill -USR1 $$; say "after usr1"
(trap 'echo term; exit 7' TERM; kill -TERM "$(sh -c 'echo $PPID')"; echo never); say "term trap $?"
(trap 'echo on exit' EXIT; exit 4); say "exit trap $?"
trap '' INT; sh -c 'kill -INT $$; echo survived'; trap - INT
sh -c 'kill -KILL $$'; say "killed $?"
sh -c 'kill -SEGV $$' 2>/dev/null; say "segv $?"

# jobs
sleep 60 & sleeper=$!
kill -0 $sleeper && say alive
kill $sleeper; wait $sleeper; say "sleeper $?"
(exit 5) & a=$!; (exit 6) & b=$!
wait $b; say "b $?"; wait $a; say "a $?"
wait; say "all $?"
mkfifo pipe
cat pipe > got & cat=$!
echo through a fifo > pipe; wait $cat; cat got
trap 'got=usr2' USR2
(trap - USR2; while :; do kill -USR2 $$; sleep 0.1; done) & child=$!
wait $child; say "wait $([ $? -gt 128 ] && echo signalled)"
trap '' USR2; say "$got"
kill $child; wait $child 2>/dev/null; say "child $?"

# descriptors and exec
exec 3>three; echo to three >&3; exec 3>&-; cat three
sh -c 'echo closed >&9' 2>/dev/null; say "closed $?"
/nowhere/at/all 2>/dev/null; say "missing $?"
printf 'not a program' > plain; chmod +x plain; : > empty; chmod +x empty; ./empty; say "empty $?"
chmod -x plain; ./plain 2>/dev/null; say "not executable $?"
printf '#!/bin/sh\necho "script $0 $1"; exit 9\n' > script; chmod +x script; ./script arg; say "script $?"
(ulimit -n 32; ulimit -n)
(cd /; pwd); umask 027; umask
env -i A=1 /usr/bin/env
echo "$(i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done; echo 200 programs)"
exec sh -c 'echo the last; exit 42'
