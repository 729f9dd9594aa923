// http: a server and its clients in one process, then in a cluster of workers that share the port.
const http = require('http'), cluster = require('cluster'), zlib = require('zlib');
const handler = (q, s) => {
  let body = ''; q.on('data', d => body += d);
  q.on('end', () => { s.setHeader('x-path', q.url); s.end(zlib.gzipSync(`${q.method} ${q.url} ${body.length}`)); });
};
function ask(port, agent, i) {
  return new Promise((ok, bad) => {
    const q = http.request({ port, host: '127.0.0.1', path: '/p' + i, method: i % 2 ? 'POST' : 'GET', agent }, r => {
      const parts = []; r.on('data', d => parts.push(d)); r.on('end', () => ok(zlib.gunzipSync(Buffer.concat(parts)).toString()));
    });
    q.on('error', bad); q.end(i % 2 ? 'x'.repeat(i * 100) : undefined);
  });
}
async function load(port, n) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 10 });
  const all = await Promise.all([...Array(n).keys()].map(i => ask(port, agent, i))); agent.destroy();
  return require('crypto').createHash('sha1').update(all.join('\n')).digest('hex');
}
if (cluster.isWorker) http.createServer(handler).listen(+process.env.PORT, '127.0.0.1');
else {
  const server = http.createServer(handler).listen(0, '127.0.0.1', async () => {
    const port = server.address().port; console.log(await load(port, 300)); server.close();
    server.on('close', async () => {
      const workers = [1, 2].map(() => cluster.fork({ PORT: port }));
      await Promise.all(workers.map(w => new Promise(r => w.on('listening', r))));
      console.log(await load(port, 200));
      workers.forEach(w => w.kill()); console.log(await Promise.all(workers.map(w => new Promise(r => w.on('exit', (c, s) => r(s))))));
      process.exit(5);
    });
  });
}
