"""multiprocessing: fork, spawn and forkserver; pools, queues, locks, shared memory, managers."""
import multiprocessing as mp, os, signal, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import shared_memory

def square(n):
    return n * n

def worker(q, lock, counter, n):
    for _ in range(n):
        with lock:
            counter.value += 1
    q.put(n)

def crash():
    os.kill(os.getpid(), signal.SIGSEGV)

def fill(name):
    m = shared_memory.SharedMemory(name=name)
    m.buf[10:14] = b"done"
    m.close()

def talk(c):
    while (x := c.recv()) is not None:
        c.send(x[::-1])

def main():
    for how in ("fork", "spawn", "forkserver"):
        ctx = mp.get_context(how)
        with ctx.Pool(3) as pool:
            print(how, sum(pool.map(square, range(500), chunksize=20)), pool.apply_async(square, (12,)).get())
        q, lock, counter = ctx.Queue(), ctx.Lock(), ctx.Value("i", 0)
        ps = [ctx.Process(target=worker, args=(q, lock, counter, n)) for n in (50, 100, 150)]
        [p.start() for p in ps]
        print(sorted(q.get() for _ in ps), [p.join() or p.exitcode for p in ps], counter.value)
        p = ctx.Process(target=crash)
        p.start(); p.join()
        print(how, "crash", p.exitcode)
    a, b = mp.Pipe()
    p = mp.Process(target=talk, args=(b,))
    p.start()
    for w in ("abc", [1, 2, 3], "x" * 300000):
        a.send(w)
        print(len(a.recv()))
    a.send(None); p.join(); print(p.exitcode)
    m = shared_memory.SharedMemory(create=True, size=10000)
    p = mp.Process(target=fill, args=(m.name,))
    p.start(); p.join()
    print(bytes(m.buf[10:14]))
    m.close(); m.unlink()
    with mp.Manager() as man:
        d = man.dict()
        ps = [mp.Process(target=d.__setitem__, args=(i, i * 2)) for i in range(4)]
        [p.start() for p in ps]; [p.join() for p in ps]
        print(sorted(d.items()))
    with ProcessPoolExecutor(2) as ex:
        print(list(ex.map(square, range(10))))
    b = mp.Barrier(3)
    ps = [mp.Process(target=b.wait) for _ in range(2)]
    [p.start() for p in ps]; b.wait(); [p.join() for p in ps]
    print("barrier", [p.exitcode for p in ps])

if __name__ == "__main__":
    main()
    sys.exit(3)
