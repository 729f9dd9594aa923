require 'open3'; require 'socket'; require 'digest'; require 'tempfile'; require 'timeout'; require 'json'
$stdout.sync = true
puts `echo backticks`, $?.exitstatus
out, st = Open3.capture2e('sh', '-c', 'cat; echo err >&2; exit 4', stdin_data: "in\n"); p out, st.exitstatus
p (1..6).map { |i| fork { exit! i } }.map { |pid| Process.wait2(pid)[1].exitstatus }
r, w = IO.pipe; fork { r.close; w.puts 'from a child'; exit! }; w.close; puts r.read; Process.wait
pid = spawn('sleep', '60', pgroup: true); p Process.getpgid(pid) == pid; Process.kill(:TERM, pid); p Process.wait2(pid)[1].termsig
got = nil; trap(:USR1) { got = :usr1 }; Process.kill(:USR1, Process.pid); sleep 0.001 until got; p got
begin; Timeout.timeout(0.05) { sleep }; rescue Timeout::Error => e; puts e.class; end
begin; spawn('/nowhere'); rescue SystemCallError => e; puts e.class; end
q = Queue.new; ts = 4.times.map { |i| Thread.new { 1000.times { |n| q << n * i } } }; ts.each(&:join); p q.size
s = TCPServer.new('127.0.0.1', 0); t = Thread.new { c = s.accept; c.puts c.gets.upcase; c.close }
c = TCPSocket.new('127.0.0.1', s.addr[1]); c.puts 'socket'; puts c.gets; t.join
f = Fiber.new { Fiber.yield 1; 2 }; p f.resume, f.resume
live = []; 300_000.times { |i| live << "x#{i}"; live.shift(5000) if live.size > 10_000 }; GC.start(full_mark: true); p live.size
p Digest::SHA256.hexdigest((1..50_000).to_a.to_json)
p Ractor.new { (1..1000).sum }.take rescue p $!
at_exit { puts 'at exit'; exit! 8 }
raise 'unhandled' if false
