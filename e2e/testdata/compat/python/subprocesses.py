"""subprocess: every way of starting, feeding, killing and waiting."""
import os, signal, subprocess, sys

print(subprocess.check_output(["seq", "3"]))
print(subprocess.run("echo out; echo err >&2; exit 5", shell=True, capture_output=True))
print(subprocess.run(["tr", "a-z", "A-Z"], input=b"x" * 200000, stdout=subprocess.PIPE).stdout.count(b"X"))
a = subprocess.Popen(["seq", "100"], stdout=subprocess.PIPE)
b = subprocess.Popen(["grep", "-c", "7"], stdin=a.stdout, stdout=subprocess.PIPE)
a.stdout.close()
print(b.communicate()[0], a.wait(), b.returncode)
for action in (lambda: subprocess.run(["/nowhere"]), lambda: subprocess.run(["/etc/passwd"]),
               lambda: subprocess.run(["true"], cwd="/nowhere"), lambda: subprocess.run(["false"], check=True),
               lambda: subprocess.run(["sleep", "50"], timeout=0.2)):
    try:
        action()
    except Exception as e:
        print(type(e).__name__, getattr(e, "errno", None), getattr(e, "cmd", None))
p = subprocess.Popen(["sleep", "50"])
p.send_signal(signal.SIGSTOP)
print(os.WIFSTOPPED(os.waitpid(p.pid, os.WUNTRACED)[1]))
p.send_signal(signal.SIGCONT)
print(os.WIFCONTINUED(os.waitpid(p.pid, os.WCONTINUED)[1]))
p.kill()
print(p.wait())
p = subprocess.Popen(["sh", "-c", "echo $$; ps -o pgid= -p $$; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
out = p.communicate(b"in a session\n")[0].split(b"\n")
print(int(out[0]) == p.pid == int(out[1]), out[2])
r, w = os.pipe()
p = subprocess.run(["sh", "-c", f"echo passed >&{w}"], pass_fds=[w])
print(p.returncode, os.read(r, 99))
print(subprocess.run(["sh", "-c", f"echo closed >&{w}"], stderr=subprocess.DEVNULL).returncode)
print(subprocess.run(["id", "-u"], user=65534, group=65534, extra_groups=[], stdout=subprocess.PIPE).stdout if os.getuid() == 0 else b"65534\n")
print(subprocess.run(["sh", "-c", "ulimit -n; echo $VAR; pwd"], preexec_fn=lambda: os.chdir("/"), env={"VAR": "set", "PATH": os.environ["PATH"]}, stdout=subprocess.PIPE).stdout.split()[1:])
pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 9"], os.environ, setsigmask=[signal.SIGUSR1], setsigdef=[signal.SIGPIPE])
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
pid = os.fork()
if pid == 0:
    os.execvp("sh", ["sh", "-c", "kill -ABRT $$"])
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
p = subprocess.Popen(["true"])
fd = os.pidfd_open(p.pid)
print(os.waitid(os.P_PIDFD, fd, os.WEXITED).si_status)
print(os.popen("echo popen").read(), os.system("exit 3") >> 8)
procs = [subprocess.Popen([sys.executable, "-c", f"print({i} ** 2)"], stdout=subprocess.PIPE, text=True) for i in range(6)]
print([p.communicate()[0].strip() for p in procs])
sys.exit(11)
