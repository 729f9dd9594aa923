// child_process: spawn, exec, execFile, fork with IPC, the synchronous ones, signals, stdio.
const { spawn, exec, execFile, fork, spawnSync, execSync } = require('child_process');
const { promisify } = require('util');
if (process.argv[2] === 'child') {
  process.on('message', m => { if (m === 'stop') process.exit(12); process.send({ doubled: m.n * 2 }); });
} else main();

async function ended(p) { return new Promise(r => p.on('close', (code, signal) => r([code, signal]))); }
async function main() {
  console.log(execSync('echo sync').toString(), spawnSync('sh', ['-c', 'cat; exit 3'], { input: 'in' }).status);
  console.log(await promisify(exec)('echo out; echo err >&2'));
  console.log(await promisify(execFile)('seq', ['3']));
  const cat = spawn('cat'); let n = 0;
  cat.stdout.on('data', d => n += d.length); cat.stdin.end(Buffer.alloc(1e6)); console.log(await ended(cat), n);
  const sleeper = spawn('sleep', ['60']); sleeper.kill('SIGTERM'); console.log(await ended(sleeper));
  const missing = spawn('/nowhere/program'); missing.on('error', e => console.log(e.code)); await ended(missing);
  console.log(spawnSync('sleep', ['60'], { timeout: 100 }).error.code);
  const kid = fork(__filename, ['child']);
  for (let i = 0; i < 5; i++) { kid.send({ n: i }); console.log(await new Promise(r => kid.once('message', r))); }
  kid.send('stop'); console.log(await ended(kid));
  console.log((await Promise.all([...Array(8).keys()].map(i => ended(spawn('sh', ['-c', `exit ${i}`]))))).map(x => x[0]));
  const piped = spawn('sh', ['-c', 'echo three >&3; read x <&3; echo got $x'], { stdio: ['ignore', 'pipe', 'inherit', 'pipe'] });
  piped.stdio[3].on('data', d => { console.log(d.toString()); piped.stdio[3].write('back\n'); });
  piped.stdout.on('data', d => console.log(d.toString())); console.log(await ended(piped));
  const detached = spawn('sh', ['-c', 'ps -o sid= -p $$; echo $$'], { detached: true }); let ids = '';
  detached.stdout.on('data', d => ids += d); await ended(detached); console.log(new Set(ids.trim().split(/\s+/)).size);
  process.kill(process.pid, 'SIGKILL');
}
