// Loaded before the suite: gives its short deadlines ten times as long.
//
// Some scenarios listen for half a second only. The gateway starts a process for each request of the modern
// era, which takes a Python server longer than that, sandbox or not: what is judged is the answer. Only what
// breaks something off is put off; what merely waits a little waits as long as before.
const original = globalThis.setTimeout;
const breaksOff = /\b(abort|cancel)\(/;
const stretched = (call, delay, ...rest) =>
  original(call, delay < 5000 && breaksOff.test(String(call)) ? delay * 10 : delay, ...rest);
Object.defineProperties(stretched, Object.getOwnPropertyDescriptors(original));
globalThis.setTimeout = stretched;
