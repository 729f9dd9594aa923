# What ps, pgrep, pkill's matcher and lsof see: the payloads of this tree, by their own names.
sleep 100 & a=$!
sh -c 'sleep 200; :' & b=$!
python3 -c 'import sys; sys.stdin.read()' < <(sleep 300) & c=$!
until [ "$(pgrep -P $b)" ]; do :; done
until [ "$(cat /proc/$c/comm)" = python3 ]; do :; done
until [ "$(cat /proc/$a/comm)" = sleep ]; do :; done
ps -o comm=,args= -p $$,$a,$b,$c
ps -o stat= -p $a | cut -c 1
ps --ppid $$ -o comm= > children; sort children | uniq -c
pgrep -P $$ -l sleep | cut -d ' ' -f 2
pgrep -f 'sleep 200' -P $b -a | cut -d ' ' -f 2-
ps -o ppid= -p $a | grep -qw $$ && echo parent
ps -o user=,nlwp= -p $a
readlink /proc/$a/exe /proc/$a/cwd
tr '\0' ' ' < /proc/$b/cmdline; echo
tr '\0' '\n' < /proc/$a/environ | grep LANG
grep -E '^(Name|State|Threads|PPid)' /proc/$a/status | sed "s/$$/PARENT/"
grep -c . /proc/$a/maps | awk '{ print ($1 > 5) }'; grep -o '/.*/sleep' /proc/$a/maps | sort -u
exec 7> open-file
lsof -a -p $$ -d 7 -Fn | tail -n 1
lsof -a -p $a -d txt,cwd -Fn | grep -v '^[pf]' | sort
lsof -t open-file | grep -c .
ls /proc/$a/fd | tr '\n' ' '; ls /proc/$a/task | wc -l
cut -d ' ' -f 2 /proc/$a/stat
kill $a; wait $a 2>/dev/null; ps -p $a -o comm=; echo "gone $?"
pgrep -P $b | xargs kill; wait $b 2>/dev/null; echo "sh $?"
pgrep -P $c -f 'sleep 300' | xargs kill; wait $c; echo "python $?"
