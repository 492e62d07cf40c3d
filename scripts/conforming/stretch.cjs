// Loaded before the suite: gives its short deadlines three times as long.
//
// Some scenarios listen for half a second only. The gateway starts a process for each request of the modern
// era, which takes a Python server longer than that, sandbox or not: what is judged is the answer.
const original = globalThis.setTimeout;
const stretched = (call, delay, ...rest) => original(call, delay < 5000 ? delay * 3 : delay, ...rest);
Object.defineProperties(stretched, Object.getOwnPropertyDescriptors(original));
globalThis.setTimeout = stretched;
