import java.io.*;
import java.net.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;

/** Threads with a heap under pressure, null checks by SIGSEGV, sockets, children; ends with status 5. */
public class Main {
    static volatile Object sink;

    static long churn(int seed) {
        Random r = new Random(seed);
        Map<Integer, byte[]> live = new HashMap<>();
        long sum = 0;
        for (int i = 0; i < 60000; i++) {
            live.put(r.nextInt(300), new byte[r.nextInt(4096)]);
            sum += live.size();
            sink = new int[r.nextInt(64)];
            String s = r.nextInt(500) == 0 ? null : "x";
            try { sum += s.length(); } catch (NullPointerException e) { sum += 7; }
        }
        return sum;
    }

    static int depth(int n) { try { return depth(n + 1); } catch (StackOverflowError e) { return n > 100 ? 1 : 0; } }

    public static void main(String[] args) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(8);
        List<Future<Long>> parts = new ArrayList<>();
        for (int i = 0; i < 8; i++) { int n = i; parts.add(pool.submit(() -> churn(n))); }
        long sum = 0;
        for (Future<Long> f : parts) sum += f.get();
        System.out.println("churn " + sum + " depth " + depth(0));
        try { sink = new long[1 << 28]; } catch (OutOfMemoryError e) { System.out.println(e.getMessage()); }
        AtomicInteger n = new AtomicInteger();
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < 100; i++) { Thread t = new Thread(n::incrementAndGet); threads.add(t); t.start(); }
        for (Thread t : threads) t.join();
        System.out.println("threads " + n);
        ServerSocket server = new ServerSocket(0, 5, InetAddress.getLoopbackAddress());
        pool.submit(() -> { try (Socket s = server.accept()) { s.getOutputStream().write("hello\n".getBytes()); } return 0; });
        try (Socket s = new Socket(InetAddress.getLoopbackAddress(), server.getLocalPort())) {
            System.out.println(new BufferedReader(new InputStreamReader(s.getInputStream())).readLine());
        }
        if (args.length > 0) children();
        pool.shutdown();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("hook")));
        System.exit(5);
    }

    static void children() throws Exception {
        for (int i = 0; i < 5; i++) {
            Process p = new ProcessBuilder("sh", "-c", "cat; exit " + i).redirectErrorStream(true).start();
            p.getOutputStream().write("to the child\n".getBytes());
            p.getOutputStream().close();
            System.out.print(new String(p.getInputStream().readAllBytes()));
            System.out.println("child " + p.waitFor());
        }
        try { new ProcessBuilder("/nowhere/program").start(); } catch (IOException e) { System.out.println(e.getMessage()); }
        Process p = new ProcessBuilder("sleep", "60").start();
        p.destroy();
        System.out.println("destroyed " + p.waitFor());
    }
}
