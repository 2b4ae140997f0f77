// One connection to a port of a pod through the API, as `kubectl port-forward` makes it: a WebSocket on which channel 0
// carries the data and channel 1 the error text (subprotocol v4.channel.k8s.io; any API server serves it).

import { Duplex } from 'node:stream';
import WebSocket from 'ws';
import type { HttpKubeClient } from './client.ts';
import { PODS, resourcePath } from './resources.ts';

const DATA = 0;
const ERROR = 1;
const MAX_QUEUED_BYTES = 1 << 20;

/** Connects to `port` inside the pod's network namespace (its loopback included); rejects when the API refuses. */
export async function connectPod(
  client: HttpKubeClient,
  namespace: string,
  pod: string,
  port: number,
): Promise<Duplex> {
  const { server, caPem, tlsServerName, skipTlsVerify } = client.connection;
  const { token, certPem, keyPem, username, password } = await client.connection.credential();
  const url = new URL(`${resourcePath(PODS, namespace, pod)}/portforward?ports=${port}`, server);
  url.protocol = url.protocol === 'http:' ? 'ws:' : 'wss:';
  const socket = new WebSocket(url, ['v4.channel.k8s.io'], {
    ...(caPem !== undefined && { ca: caPem }),
    ...(tlsServerName !== undefined && { servername: tlsServerName }),
    ...(certPem !== undefined && { cert: certPem }),
    ...(keyPem !== undefined && { key: keyPem }),
    rejectUnauthorized: skipTlsVerify !== true,
    perMessageDeflate: false,
    handshakeTimeout: 10_000,
    headers: {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(token === undefined &&
        username !== undefined && {
          authorization: `Basic ${Buffer.from(`${username}:${password ?? ''}`).toString('base64')}`,
        }),
    },
  });
  const stream = streamOver(socket); // before it is open: the first frames may come with the upgrade itself
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    stream.once('error', reject);
  });
  return stream;
}

function streamOver(socket: WebSocket): Duplex {
  // The first frame on each channel repeats the port, two bytes, little endian.
  const preamble = [false, false];
  const stream = new Duplex({
    read: () => socket.resume(),
    write(chunk: Buffer, _encoding, done) {
      const frame = Buffer.allocUnsafe(chunk.length + 1);
      frame[0] = DATA;
      chunk.copy(frame, 1);
      socket.send(frame, (error) => done(error));
    },
    final(done) {
      socket.close(1000);
      done();
    },
    destroy(error, done) {
      socket.terminate();
      done(error);
    },
    writableHighWaterMark: MAX_QUEUED_BYTES,
  });
  socket.on('message', (data: Buffer) => {
    const channel = data[0];
    if (channel !== DATA && channel !== ERROR) return;
    if (!preamble[channel]) {
      preamble[channel] = true;
      if (data.length === 3) return;
    }
    const body = data.subarray(1);
    if (channel === ERROR && body.length > 0) stream.destroy(new Error(body.toString('utf8').trim()));
    else if (channel === DATA && !stream.push(body)) socket.pause();
  });
  socket.on('close', () => stream.push(null));
  socket.on('error', (error) => stream.destroy(error));
  return stream;
}
