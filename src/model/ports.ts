// The fixed port numbers of the mesh.

export const OUTBOUND_PORT = 15001;
export const INBOUND_PLAINTEXT_PORT = 15006;
export const HBONE_PORT = 15008;
export const CONTROL_PLANE_PORT = 15012;
export const CONTROL_PLANE_METRICS_PORT = 15014;
export const ZTUNNEL_ADMIN_PORT = 15000;
export const METRICS_PORT = 15020;
export const READINESS_PORT = 15021;
export const DNS_PROXY_PORT = 15053;

/** Ports that a tunnel may never be asked for: they are the proxy's own listeners in every pod. */
export const OWN_PORTS: ReadonlySet<number> = new Set([OUTBOUND_PORT, INBOUND_PLAINTEXT_PORT, HBONE_PORT]);
