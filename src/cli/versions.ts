// Which versions run: of this client, of the control planes, and of the proxies connected to them. Lines and JSON as
// istioctl's, so that scripts read both.

import type { ProxySync } from './sync-status.ts';

export interface ComponentVersion {
  /** Pod. */
  readonly component: string;
  readonly version: string;
}

export interface Versions {
  readonly client: string;
  /** Undefined: the mesh was not asked, or has no control plane. */
  readonly mesh:
    | { readonly controlPlanes: readonly ComponentVersion[]; readonly proxies: readonly ProxySync[] }
    | undefined;
}

/** istiod's `/version` may carry its build: `1.29.0-<commit>-Clean`. */
export const versionOf = (text: string): string =>
  text.trim().replace(/-[0-9a-f]{7,40}(?:-dirty)?(?:-(?:Clean|Modified|unknown))?$/, '');

/** `<version> (<n> proxies)`, the most frequent first; `none` without proxies. */
export function dataPlane(proxies: readonly ProxySync[]): string {
  const counts = new Map<string, number>();
  for (const { version } of proxies) counts.set(version || 'unknown', (counts.get(version || 'unknown') ?? 0) + 1);
  return (
    [...counts]
      .sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))
      .map(([version, count]) => `${version} (${count} proxies)`)
      .join(', ') || 'none'
  );
}

export function versionLines({ client, mesh }: Versions, short: boolean): string {
  const lines = [`client version: ${client}`];
  if (mesh !== undefined) {
    const { controlPlanes, proxies } = mesh;
    const distinct = new Set(controlPlanes.map(({ version }) => version));
    if (short && distinct.size === 1) lines.push(`control plane version: ${controlPlanes[0]?.version}`);
    else for (const { component, version } of controlPlanes) lines.push(`${component} version: ${version}`);
    lines.push(`data plane version: ${dataPlane(proxies)}`);
    if (!short) for (const { name, version } of proxies) lines.push(`  ${name}: ${version || 'unknown'}`);
  }
  return `${lines.join('\n')}\n`;
}

export const versionJson = ({ client, mesh }: Versions): unknown => ({
  clientVersion: { version: client },
  ...(mesh !== undefined && {
    meshVersion: mesh.controlPlanes.map(({ component, version }) => ({ Component: component, Info: { version } })),
    dataPlaneVersion: mesh.proxies.map(({ name, version }) => ({ ID: name, IstioVersion: version })),
  }),
});
