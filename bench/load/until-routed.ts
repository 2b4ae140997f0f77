// `until-routed.ts PORT MARKER`: asks on one connection, again and again, until a response has MARKER in `x-routes` (or,
// for an empty marker, until there is a 200), and prints the Unix time at which it came.

import { connect } from 'node:net';

const port = Number(process.argv[2]);
const marker = process.argv[3] ?? '';
const wanted = marker === '' ? /^HTTP\/1\.1 200/ : new RegExp(`\\r\\nx-routes: ${marker}\\r\\n`, 'i');

function ask(): void {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  let text = '';
  const send = (): void => void socket.write('GET /1 HTTP/1.1\r\nHost: bench.example\r\n\r\n');
  socket.on('connect', send);
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    const end = text.indexOf('\r\n\r\n');
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(text)?.[1] ?? 0);
    if (end < 0 || text.length < end + 4 + length) return;
    if (wanted.test(text)) {
      console.log(Date.now());
      process.exit();
    }
    text = '';
    setTimeout(send, 1);
  });
  socket.on('error', () => {});
  socket.on('close', () => setTimeout(ask, 20));
}
ask();
setTimeout(() => {
  console.error(`no answer on port ${port} with the routes \`${marker}\``);
  process.exit(1);
}, 20_000);
