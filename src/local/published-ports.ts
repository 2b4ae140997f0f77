// Where a room's gateways are on the host, as it is written down on their Services: by the room, for whoever shows it.

/** `<port of the service>=<host>:<port on the host>`, comma-separated. */
export const PUBLISHED_ANNOTATION = 'ambit.dev/published';
export const HOST = '127.0.0.1';

/** What an annotation says: port of the service -> port on the host. What cannot be read is left out. */
export function parsePublished(written: string | undefined): ReadonlyMap<number, number> {
  const found = new Map<number, number>();
  for (const item of (written ?? '').split(',')) {
    const match = /^([0-9]{1,5})=127\.0\.0\.1:([0-9]{1,5})$/.exec(item.trim());
    const [port, hostPort] = [Number(match?.[1]), Number(match?.[2])];
    if (match !== null && port >= 1 && port <= 65535 && hostPort >= 1 && hostPort <= 65535) found.set(port, hostPort);
  }
  return found;
}

export const formatPublished = (ports: readonly (readonly [number, number])[]): string =>
  ports.map(([port, hostPort]) => `${port}=${HOST}:${hostPort}`).join(',');
