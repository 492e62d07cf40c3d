// An HTTP/2 server: `h2.cjs CHAIN LOG SECURE_PORT PLAIN_PORT` says `hello AUTHORITY`, and to a gRPC call what it was sent.
"use strict";

const fs = require("node:fs");
const http2 = require("node:http2");

const [chain, log, secure, plain] = process.argv.slice(2);
const pem = fs.readFileSync(chain);

function answer(stream, headers) {
  const { encrypted, servername, localPort } = stream.session.socket;
  const line = { port: localPort, authority: headers[":authority"], path: headers[":path"], method: headers[":method"] };
  // Before the answer: who has that finds the line.
  fs.appendFileSync(log, JSON.stringify({ ...line, sni: encrypted ? servername : null }) + "\n");
  if (headers["content-type"] !== "application/grpc") {
    stream.respond({ ":status": 200, "content-type": "text/plain" });
    stream.end(`hello ${headers[":authority"]}\n`);
    return;
  }
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.pipe(stream); // a message comes in the frame in which it is sent back
}

const servers = [
  [http2.createSecureServer({ key: pem, cert: pem }), secure],
  [http2.createServer(), plain],
];
let waiting = servers.length;
for (const [server, port] of servers) {
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    answer(stream, headers);
  });
  server.on("sessionError", () => {});
  server.listen(Number(port), "::", () => --waiting || console.log("ready"));
}
process.stdin.on("end", () => process.exit(0)).resume();
