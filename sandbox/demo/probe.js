// One attempt at what a server has no business doing; run with `node -e` inside and outside the sandbox.
// The same acts as probe.py, for a server that runs on node.
'use strict';
const fs = require('fs');
const net = require('net');
const dgram = require('dgram');
const crypto = require('crypto');

const [act, text] = process.argv.slice(1);
const ask = JSON.parse(text);

const proof = (data) => crypto.createHash('sha256').update(ask.nonce).update(data).digest('hex');
const pids = () => fs.readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name));

function each(file, use) {
  for (const pid of pids()) {
    try {
      use(fs.readFileSync(`/proc/${pid}/${file}`));
    } catch (error) {
      if (!error.code) throw error; // ended meanwhile, or another user's
    }
  }
}

function send(socket, settle, fail) {
  const chunks = [];
  socket.setTimeout(5000, () => socket.destroy(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })));
  socket.on('error', fail);
  socket.on('connect', () => {
    const payload = Buffer.from(ask.payload, 'hex');
    if (ask.answers) socket.write(payload);
    else {
      // Nobody answers: done as soon as the kernel has it.
      socket.end(payload, () => {
        settle({});
        socket.destroy();
      });
    }
  });
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.on('close', (failed) => {
    if (failed) return;
    const data = Buffer.concat(chunks);
    settle({ proofs: [proof(data.subarray(data.indexOf('\r\n\r\n') + 4))] });
  });
}

const acts = {
  read: (settle) => settle({ proofs: [proof(fs.readFileSync(ask.path))] }),
  write: (settle) => {
    fs.appendFileSync(ask.path, ask.content);
    settle({});
  },
  environ: (settle) => {
    const found = [process.env[ask.variable] || ''];
    each('environ', (data) => {
      for (const entry of data.toString().split('\0')) {
        if (entry.startsWith(`${ask.variable}=`)) found.push(entry.slice(ask.variable.length + 1));
      }
    });
    settle({ proofs: [...new Set(found.filter(Boolean))].map(proof) });
  },
  processes: (settle) => {
    const proofs = [];
    each('cmdline', (data) => proofs.push(proof(data.toString().replace(/\0+$/, '').split('\0').pop())));
    settle({ proofs, count: proofs.length });
  },
  kill: (settle) => {
    process.kill(ask.pid, 'SIGKILL');
    settle({});
  },
  datagram: (settle, fail) => {
    const socket = dgram.createSocket('udp4');
    socket.on('error', fail);
    socket.send(Buffer.from(ask.payload, 'hex'), ask.port, ask.host, (error) => {
      socket.close();
      if (error) fail(error);
      else settle({});
    });
  },
  connect: (settle, fail) => send(net.connect(ask.port, ask.host), settle, fail),
  unix: (settle, fail) => send(net.connect(ask.path), settle, fail),
};

let told = false;
function settle(found) {
  if (told) return;
  told = true;
  fs.writeSync(1, `${JSON.stringify({ tried: ask.nonce, ...found })}\n`);
}
const fail = (error) => settle({ error: error.code || error.name });

try {
  acts[act](settle, fail);
} catch (error) {
  fail(error);
}
