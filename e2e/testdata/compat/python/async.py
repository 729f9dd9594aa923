"""asyncio: tasks, timers, streams, subprocesses, signals, threads, unix and TCP sockets."""
import asyncio, os, signal, socket

async def echo(r, w):
    while line := await r.readline():
        w.write(line.upper())
        await w.drain()
    w.close()

async def client(open_connection, n):
    r, w = await open_connection
    for i in range(20):
        w.write(b"client %d line %d\n" % (n, i))
        got = await r.readline()
    w.close()
    return got

async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(await asyncio.gather(*(client(asyncio.open_connection("127.0.0.1", port), n) for n in range(10))))
    local = await asyncio.start_unix_server(echo, "sock")
    print(await asyncio.gather(*(client(asyncio.open_unix_connection("sock"), n) for n in range(5))))
    server.close(); local.close()
    p = await asyncio.create_subprocess_exec("tr", "a-z", "A-Z", stdin=-1, stdout=-1)
    print(await p.communicate(b"subprocess\n"), p.returncode)
    ps = await asyncio.gather(*(asyncio.create_subprocess_shell(f"sleep 0.0{i}; exit {i}") for i in range(5)))
    print([await p.wait() for p in ps])
    p = await asyncio.create_subprocess_exec("sleep", "60")
    p.terminate()
    print(await p.wait())
    print(await asyncio.to_thread(sum, range(1000)))
    got = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, got.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await got.wait()
    print("signal")
    try:
        await asyncio.wait_for(asyncio.sleep(60), 0.05)
    except asyncio.TimeoutError:
        print("timeout")
    print(sum(await asyncio.gather(*(asyncio.sleep(0.001 * (i % 5), i) for i in range(500)))))
    a, b = socket.socketpair()
    socket.send_fds(a, [b"fd"], [os.open("/etc/hostname", os.O_RDONLY)])
    msg, fds, _, _ = socket.recv_fds(b, 10, 1)
    print(msg, os.fstat(fds[0]).st_ino == os.stat("/etc/hostname").st_ino)

asyncio.run(main())
