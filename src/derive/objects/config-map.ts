// ConfigMaps and Secrets, as far as Gateways refer to them: the parts' customisation, certificates, authorities. All
// else in them is dropped at once.

import { Buffer } from 'node:buffer';
import { type Json, record, text } from '../read.ts';
import { type Meta, parseMeta } from './meta.ts';

/** Keys of a ConfigMap that customise the objects made for a Gateway. */
export const OVERLAY_KEYS = [
  'deployment',
  'service',
  'serviceAccount',
  'horizontalPodAutoscaler',
  'podDisruptionBudget',
] as const;
export type OverlayKey = (typeof OVERLAY_KEYS)[number];

export interface ConfigMap extends Meta {
  /** Names of all entries, sorted. */
  readonly keys: readonly string[];
  /** YAML, of the known keys alone. */
  readonly overlays: Readonly<Partial<Record<OverlayKey, string>>>;
  /** PEM under `ca.crt`; empty: none. */
  readonly authorities: string;
}

export function parseConfigMap(object: Json): ConfigMap {
  const data = record(object.data);
  const overlays: Partial<Record<OverlayKey, string>> = {};
  for (const key of OVERLAY_KEYS) if (typeof data[key] === 'string') overlays[key] = data[key];
  return {
    ...parseMeta(object),
    keys: [...Object.keys(data), ...Object.keys(record(object.binaryData))].sort(),
    overlays,
    authorities: text(data['ca.crt']) || text(data.cacert),
  };
}

export interface Secret extends Meta {
  /** PEM; empty: none. */
  readonly certificate: string;
  /** PEM; empty: none. Never to be logged. */
  readonly privateKey: string;
  /** PEM of who signs clients' certificates; empty: none. */
  readonly authorities: string;
}

const decoded = (value: unknown): string => Buffer.from(text(value), 'base64').toString('latin1');

/** Entries as `kubernetes.io/tls` names them, or as Istio's generic Secrets do. */
export function parseSecret(object: Json): Secret {
  const data = record(object.data);
  return {
    ...parseMeta(object),
    certificate: decoded(data['tls.crt'] ?? data.cert),
    privateKey: decoded(data['tls.key'] ?? data.key),
    authorities: decoded(data['ca.crt'] ?? data.cacert),
  };
}
