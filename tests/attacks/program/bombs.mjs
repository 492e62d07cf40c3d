// The bombs of bombs.py for Node, behind the same JSON-RPC: refused, each says when, and goes on asking.
// Standard library only. CommonJS and ES modules alike have no fork: children are the system's own `sleep`.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { createInterface } from 'node:readline';
import { Worker } from 'node:worker_threads';

const PATIENCE_S = 6;
const RETRY_MS = 10;
const STEP = 4 << 20;
const CHUNK = 1 << 16;
const CUT = 64 * CHUNK;

const now = () => Number(process.hrtime.bigint()) / 1e9;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const cpu = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1e6; };

function out(fd, data) {
  let left = Buffer.from(data);
  while (left.length) {
    try {
      left = left.subarray(fs.writeSync(fd, left));
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

const say = (word, number) => out(2, `bomb: ${word} ${number} ${now().toFixed(4)} ${process.pid}\n`);

async function stubborn(take, most) {
  let taken = 0;
  let refused = 0;
  while (taken < most) {
    try {
      await take();
      taken += 1;
    } catch {
      if (!refused) {
        refused = now();
        say('limit', taken);
      }
      if (now() - refused > PATIENCE_S) break;
      await pause(RETRY_MS);
    }
  }
  return taken;
}

const reached = (done, after, step) => { if (done - step < after && after <= done) say('limit', done); };

// --- processes and threads -----------------------------------------------------------------------------

function started(command, words) {
  return new Promise((done, failed) => {
    const child = spawn(command, words, { stdio: 'ignore' });
    child.once('error', failed);
    child.once('spawn', () => done(child));
  });
}

async function fork({ most }) {
  const children = [];
  const taken = await stubborn(async () => children.push(await started('sleep', ['60'])), most);
  children.forEach((child) => child.kill('SIGKILL'));
  return taken;
}

// Node waits for its children at once; the child of a shell that has become another program finds nobody
// who does. Where the shell itself could not fork, one more sleeper takes the place that is left.
async function zombie({ most }) {
  const parents = [];
  const taken = await stubborn(async () => {
    const child = await started('sh', ['-c', '(exit 0) & exec sleep 60']);
    const failed = new Promise((done) => child.once('exit', () => done(true)));
    if (await Promise.race([failed, pause(15)])) {
      parents.push(await started('sleep', ['60']));
      throw new Error('the shell could not fork');
    }
    parents.push(child);
  }, Math.ceil(most / 2));
  parents.forEach((child) => child.kill('SIGKILL'));
  return taken * 2;
}

async function thread({ most }) {
  const workers = [];
  const taken = await stubborn(() => new Promise((done, failed) => {
    const worker = new Worker('setTimeout(() => {}, 60000)', { eval: true });
    worker.once('error', failed);
    worker.once('online', () => { workers.push(worker); done(); });
  }), most);
  await Promise.all(workers.map((worker) => worker.terminate()));
  return taken;
}

// --- memory, files, descriptors ------------------------------------------------------------------------

async function memory({ most, pause: wait = 0, hold = 0 }) {
  const held = [];
  const taken = await stubborn(async () => {
    held.push(Buffer.alloc(STEP, 'x'));
    say('held', held.length * STEP);
    await pause(wait * 1000);
  }, Math.floor(most / STEP));
  await pause(hold * 1000);
  return Math.min(taken, held.length) * STEP;  // held until now
}

async function memory_by_children({ most, children = 4 }) {
  const each = { jsonrpc: '2.0', id: 1, params: { name: 'bombs.memory', arguments: { most: Math.floor(most / children), hold: 1 } } };
  const ends = Array.from({ length: children }, () => new Promise((done) => {
    const child = spawn(process.execPath, [process.argv[1]], { stdio: ['pipe', 'ignore', 'inherit'] });
    child.once('exit', (code) => done(code === 0));
    child.once('error', () => done(false));
    child.stdin.on('error', () => {});
    child.stdin.end(`${JSON.stringify(each)}\n`);
  }));
  const well = (await Promise.all(ends)).filter(Boolean).length;
  await pause(well === children ? 0 : PATIENCE_S * 1000);
  return well;
}

async function tmpfs({ path, most }) {
  const file = fs.openSync(`${path}/bomb`, 'w');
  const chunk = Buffer.alloc(CHUNK, 'x');
  const taken = await stubborn(() => { if (fs.writeSync(file, chunk) !== CHUNK) throw new Error('short'); }, Math.floor(most / CHUNK));
  fs.closeSync(file);
  fs.unlinkSync(`${path}/bomb`);
  return taken * CHUNK;
}

async function inode({ path, most }) {
  let made = 0;
  const taken = await stubborn(() => { fs.closeSync(fs.openSync(`${path}/bomb${made}`, 'wx')); made += 1; }, most);
  for (let one = 0; one < made; one += 1) fs.unlinkSync(`${path}/bomb${one}`);
  return taken;
}

async function fd({ most }) {
  const fds = [];
  const taken = await stubborn(() => fds.push(fs.openSync('/dev/null', 'r')), most);
  fds.forEach((one) => fs.closeSync(one));
  return taken;
}

async function written({ path, after, most }) {
  const file = fs.openSync(`${path}/bomb`, 'w');
  const chunk = Buffer.alloc(CHUNK, 'x');
  let done = 0;
  while (done < most) {
    if (done % CUT === 0) fs.ftruncateSync(file);
    done += fs.writeSync(file, chunk, 0, CHUNK, done % CUT);
    reached(done, after, CHUNK);
    await pause(1);
  }
  fs.closeSync(file);
  fs.unlinkSync(`${path}/bomb`);
  return done;
}

// --- the processor, and messages -----------------------------------------------------------------------

function spun(after, most, clock, began) {
  let said = false;
  let used = 0;
  while (used < most) {
    used = clock() - began;
    if (used >= after && !said) {
      said = true;
      say('limit', used);
    }
  }
  return used;
}

const spin = ({ after, most }) => spun(after, most, cpu, 0);
const busy = ({ after, most }) => spun(after, most, now, now());

function flood({ after, most, size = 100 }) {
  const params = { level: 'info', data: 'x'.repeat(size) };
  const frame = `${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/message', params })}\n`;
  for (let sent = 1; sent <= most; sent += 1) {
    out(1, frame);
    if (sent === after) say('limit', sent);
  }
  return most;
}

function pour(chunk, after, most) {
  let poured = 0;
  while (poured < most) {
    out(1, chunk);
    poured += chunk.length;
    reached(poured, after, chunk.length);
  }
  out(1, '\n');
  return poured;
}

const garbage = ({ after, most }) => pour(Buffer.from(`${'no message at all '.repeat(200)}\n`.repeat(16)), after, most);
const endless_line = ({ after, most }) => pour(Buffer.alloc(CHUNK, 'x'), after, most);

function deaf({ most }) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, most * 1000);
  return most;
}

// --- the server ----------------------------------------------------------------------------------------

const BOMBS = {
  ready: () => process.pid,
  fork, zombie, thread, memory, memory_by_children, tmpfs, inode, fd, written, spin, busy, flood, garbage, endless_line, deaf,
};

async function answer(line) {
  const { id, params } = JSON.parse(line);
  const { child, ...asked } = params.arguments;
  let result;
  try {
    result = { got: await BOMBS[params.name.replace('bombs.', '')](asked) };
  } catch (error) {
    result = { failed: error.code ?? String(error) };
  }
  out(1, `${JSON.stringify({ jsonrpc: '2.0', id, result })}\n`);
}

// One at a time, as the other program does: a bomb that is busy answers nothing else.
let last = Promise.resolve();
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => { last = last.then(() => answer(line)); });
lines.on('close', () => last.then(() => process.exit(0)));
