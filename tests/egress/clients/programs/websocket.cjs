// Says `hello` over a WebSocket and hears it back: `websocket.cjs URL…`, one line of JSON for each.
"use strict";

const WebSocket = require("ws");

function said(url) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { handshakeTimeout: 10_000 });
    socket.on("open", () => socket.send("hello"));
    socket.on("message", (data) => {
      resolve({ body: String(data) });
      socket.close();
    });
    socket.on("error", reject);
  });
}

(async () => {
  for (const url of process.argv.slice(2)) {
    const began = performance.now();
    const result = await said(url).catch((error) => ({ error: String(error) }));
    console.log(JSON.stringify({ url, ...result, seconds: (performance.now() - began) / 1000 }));
  }
})();
