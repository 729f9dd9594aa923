// worker_threads: messages, SharedArrayBuffer with Atomics, transfer, errors, termination; WebAssembly; a heap under pressure.
const { Worker, isMainThread, workerData, parentPort, MessageChannel } = require('worker_threads');
const cluster = require('cluster');
const jobs = {
  count({ shared, times }) { const a = new Int32Array(shared); for (let i = 0; i < times; i++) Atomics.add(a, 0, 1); Atomics.notify(a, 1); return 'counted'; },
  wait({ shared }) { const a = new Int32Array(shared); return Atomics.wait(a, 1, 0); },
  hash({ text }) { return require('crypto').createHash('sha256').update(text.repeat(1e5)).digest('hex'); },
  heap() { let live = [], n = 0; for (let i = 0; i < 3e5; i++) { live.push({ i, s: 'x' + i, a: [i] }); if (live.length > 2e4) live = live.slice(1e4), n++; } return n; },
  fail() { throw new Error('in the worker'); },
  spin() { for (;;); },
  wasm() {
    const code = Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 127, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 9, 1, 7, 0, 32, 0, 32, 0, 108, 11]);
    return new WebAssembly.Instance(new WebAssembly.Module(code)).exports.f(12);
  },
};
if (!isMainThread) parentPort.postMessage(jobs[workerData.job](workerData)); else main();

function work(job, data = {}) {
  const w = new Worker(__filename, { workerData: { job, ...data } });
  return { w, result: new Promise(r => { w.on('message', m => r(m)); w.on('error', e => r(e.message)); w.on('exit', c => r('exit ' + c)); }) };
}
async function main() {
  const shared = new SharedArrayBuffer(8), a = new Int32Array(shared);
  console.log(await Promise.all([...Array(6)].map(() => work('count', { shared, times: 20000 }).result)), a[0]);
  const waiter = work('wait', { shared }); await new Promise(r => waiter.w.on('online', r));
  const poke = setInterval(() => { Atomics.store(a, 1, 1); Atomics.notify(a, 1); }, 5);
  console.log(['ok', 'not-equal'].includes(await waiter.result)); clearInterval(poke);
  console.log(await Promise.all([work('hash', { text: 'kmdev' }).result, work('heap').result, work('heap').result, work('fail').result, work('wasm').result]));
  const spinner = work('spin'); await new Promise(r => spinner.w.on('online', r));
  console.log(await spinner.w.terminate(), await spinner.result);
  const { port1, port2 } = new MessageChannel(), buffer = new ArrayBuffer(1e6);
  port1.postMessage(buffer, [buffer]); console.log(buffer.byteLength, (await new Promise(r => port2.once('message', r))).byteLength); port1.close();
  let f = x => x; for (let i = 0; i < 1e6; i++) f(i); let s = 0; for (let i = 0; i < 3e7; i++) s = (s + i) | 0; console.log(s);
  process.exitCode = 4;
}
