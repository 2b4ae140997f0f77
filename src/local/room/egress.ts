// The way out: TCP that pods send beyond the room's ranges is caught on the fabric and dialled anew on the host.

import { createServer, type Socket } from 'node:net';
import { Netns } from '../../platform/linux/netns.ts';
import { applyNft } from '../../platform/linux/nft.ts';
import { originalDestination, resetSocket } from '../../platform/linux/sockets.ts';
import {
  FABRIC_BRIDGE,
  FABRIC_GATEWAY,
  FABRIC_RANGE,
  formatRange,
  POD_RANGE,
  SERVICE_RANGE,
} from '../network/addresses.ts';
import { joinSockets } from './join.ts';

const EGRESS_PORT = 15999;
const MAX_CONNECTIONS = 4096;

const RULES = `table ip ambit-egress
delete table ip ambit-egress
table ip ambit-egress {
	chain prerouting {
		type nat hook prerouting priority -100
		iifname "${FABRIC_BRIDGE}" meta l4proto tcp ip daddr != { ${[FABRIC_RANGE, POD_RANGE, SERVICE_RANGE].map(formatRange).join(', ')} } redirect to :${EGRESS_PORT}
	}
}
`;

/** @param dial connects outside; its error's code says why not */
export async function openEgress(dial: (ip: string, port: number) => Promise<Socket>): Promise<void> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    client.on('error', () => client.destroy());
    const destination = originalDestination(client);
    if (destination === undefined || destination.ip === FABRIC_GATEWAY) return void client.destroy();
    dial(destination.ip, destination.port).then(
      (server) => joinSockets(client, server),
      () => resetSocket(client),
    );
  });
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(EGRESS_PORT, FABRIC_GATEWAY, 511, resolve);
  });
  using room = Netns.current();
  await applyNft(room, RULES);
}
