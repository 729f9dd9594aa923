puts [exec echo one | tr a-z A-Z]
puts [catch {exec sh -c "exit 4"} e o] ; puts [lrange [dict get $o -errorcode] 0 0],[lindex [dict get $o -errorcode] 2]
puts [catch {exec sh -c {kill -TERM $$}} e o] ; puts [lindex [dict get $o -errorcode] 2]
set f [open "|sort -r" r+]; puts $f "a\nc\nb"; close $f write; puts [read $f]; close $f
set f [open "|seq 2000" r]; fconfigure $f -blocking 0; set n 0
fileevent $f readable { if {[gets $f l] >= 0} {incr n} elseif {[eof $f]} {set done 1} }; vwait done; puts $n; close $f
after 20 {set timer fired}; vwait timer; puts $timer
proc serve {c a p} { puts $c [string toupper [gets $c]]; close $c }
set s [socket -server serve -myaddr 127.0.0.1 0]; set c [socket 127.0.0.1 [lindex [fconfigure $s -sockname] 2]]
puts $c hello; flush $c; fileevent $c readable { puts [gets $c]; set got 1 }; vwait got
if {![catch {package require Thread}]} { puts [thread::send [thread::create] {expr 6*7}] } else { puts "no Thread package" }
set l {}; for {set i 0} {$i < 100000} {incr i} { lappend l [expr {($i * 7919) % 100003}] }; puts [lindex [lsort -integer $l] 50000]
exec sleep 60 & 
foreach p [exec pgrep -P [pid] sleep] { exec kill $p }
exit 7
