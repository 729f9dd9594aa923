# What zsh has beyond POSIX.
setopt extended_glob
zmodload zsh/system zsh/datetime zsh/mathfunc
diff =(seq 1 3) <(seq 1 4); print "diff $?"
{ seq 5 } > >(cksum > sum); cat sum
coproc tr a-z A-Z
print -p coprocess; coproc :; read -r -p up 2>/dev/null || wait
true | false | (exit 3) | cat; print "$pipestatus"
setopt pipe_fail; (exit 4) | true; print "pipefail $?"
TRAPUSR1() { print "usr1 $1" }
kill -USR1 $$; print after
{ print body; false } always { print "always $?" }
sub() { trap 'print function exit' EXIT; return 5 }
sub; print "sub $?"
for i in {1..10}; do (exit $((i % 4))) & pids+=($!); done
bad=0; for p in $pids; do wait $p || bad=$((bad + 1)); done; print "bad $bad"
print -l *.zsh(:t:r)
typeset -A m; m=(a 1 b 2); print ${(kvo)m}
print ${(j:,:)${(f)"$(seq 3)"}}
sysread -i 0 got < <(print read me); print -n $got
print $(( int(sqrt(144)) ))
cat <<< "here string"
cat <<EOF | rev
heredoc $((1+1))
EOF
{ sleep 60 & } 2>/dev/null; kill $!; wait $!; print "sleeper $?"
tee >(tr a-z A-Z > one) >(rev > two) <<< multios >/dev/null; wait; while [[ ! -s one || ! -s two ]]; do :; done; cat one two
kill -HUP $$
