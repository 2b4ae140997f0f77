// The last leg, shared by both inbound sides: from the proxy to the application in its pod, with the client's address
// kept where the kernel lets us (policy routing in the pod brings the answers back to the proxy).

import { ConnectingStream } from '../dataplane/endpoints.ts';
import { type Failure, failureOf } from '../dataplane/failure.ts';
import type { HostPort, Ip } from '../model/ip.ts';
import { hasCode } from '../platform/linux/errors.ts';
import type { TcpStream } from '../platform/tcp/stream.ts';
import { keepaliveOf, type PodContext } from './context.ts';

export interface ToApplication {
  /** @param client whose address the application shall see; undefined: the proxy's own */
  connect(
    destination: HostPort,
    client: Ip | undefined,
    connected: (stream: TcpStream) => void,
    failed: (failure: Failure) => void,
  ): ConnectingStream | undefined;
}

/** ENABLE_ORIG_SRC `try`: a pod where the kernel refuses foreign addresses is served without, from then on. */
export function toApplication(pod: PodContext): ToApplication {
  const { originalSource, packetMark } = pod.settings.listen;
  let keeps = originalSource !== 'never';

  const connect: ToApplication['connect'] = (destination, client, connected, failed) => {
    // An application that dials its own pod: the same address twice cannot be told apart from the proxy's own dial.
    const keep = keeps && client !== undefined && client !== destination.ip;
    const options = {
      destination,
      source: keep ? { ip: client, port: 0 } : undefined,
      mark: packetMark,
      keepalive: keepaliveOf(pod.settings),
    };
    try {
      return new ConnectingStream(pod.netns, options, pod.connecting, connected, failed);
    } catch (error) {
      if (keep && originalSource === 'try' && hasCode(error, 'EPERM')) {
        keeps = false;
        pod.log.warn('client addresses are not kept toward the application', { error: failureOf(error).error });
        return connect(destination, client, connected, failed);
      }
      failed(failureOf(error));
      return undefined;
    }
  };
  return { connect };
}
