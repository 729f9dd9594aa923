<?php
echo shell_exec('echo shell'), exec('seq 3', $lines, $st), count($lines), $st, PHP_EOL;
$p = proc_open(['sh', '-c', 'cat; echo err >&2; exit 5'], [['pipe', 'r'], ['pipe', 'w'], ['pipe', 'w']], $io);
fwrite($io[0], "in\n"); fclose($io[0]); echo stream_get_contents($io[1]), stream_get_contents($io[2]); echo proc_close($p), PHP_EOL;
$p = popen('sort -n', 'w'); foreach ([3, 1, 2] as $n) fwrite($p, "$n\n"); echo pclose($p), PHP_EOL;
$kids = []; for ($i = 1; $i <= 5; $i++) { $pid = pcntl_fork(); if (!$pid) exit($i); $kids[] = $pid; }
foreach ($kids as $k) { pcntl_waitpid($k, $s); echo pcntl_wexitstatus($s), ' '; } echo PHP_EOL;
pcntl_async_signals(true); pcntl_signal(SIGUSR1, function ($s) { echo "signal $s\n"; }); posix_kill(posix_getpid(), SIGUSR1);
$s = stream_socket_server('tcp://127.0.0.1:0'); $name = stream_socket_get_name($s, false);
if (!pcntl_fork()) { $c = stream_socket_client("tcp://$name"); fwrite($c, "from a child\n"); exit(0); }
echo fgets(stream_socket_accept($s)); pcntl_wait($st);
$a = []; for ($i = 0; $i < 200000; $i++) { $a["k$i"] = str_repeat('x', $i % 50); if ($i % 30000 == 0) $a = []; }
echo hash('sha256', implode(',', range(1, 100000))), ' ', gc_collect_cycles(), PHP_EOL;
echo preg_replace('/(\w+) (\w+)/', '$2 $1', 'hello world'), json_encode(['a' => [1, 2.5, null]]), PHP_EOL;
pcntl_exec('/bin/sh', ['-c', 'echo executed; exit 6']);
