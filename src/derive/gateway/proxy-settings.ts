// The annotation `proxy.istio.io/config` of a Gateway: settings of its pods as YAML. Istio's ProxyConfig has no resources;
// guides write them there all the same, so they are taken.

import { parse } from 'yaml';
import { integer, type Json, optionalRecord } from '../read.ts';

export interface ProxySettings {
  /** As written, resources apart; for the proxy's environment. */
  readonly config: Json;
  readonly resources: Json | undefined;
}

export const NO_PROXY_SETTINGS: ProxySettings = { config: {}, resources: undefined };

/** A text longer than this is no setting of a proxy. */
const MAX_TEXT = 16_384;

/** @returns the settings, or why the annotation cannot be used */
export function parseProxySettings(written: string | undefined): ProxySettings | { readonly problem: string } {
  if (written === undefined || written.trim() === '') return NO_PROXY_SETTINGS;
  const problem = (why: string): { problem: string } => ({ problem: `annotation proxy.istio.io/config: ${why}` });
  if (written.length > MAX_TEXT) return problem('it is longer than 16 KiB');
  let value: unknown;
  try {
    value = parse(written, { maxAliasCount: 10 });
  } catch (error) {
    return problem(`it is not YAML: ${(error as Error).message.split('\n', 1)[0]}`);
  }
  const source = optionalRecord(value);
  if (source === undefined) return problem('it is not a mapping');
  const { resources, ...config } = source;
  if (config.concurrency !== undefined && (integer(config.concurrency) ?? 1025) > 1024)
    return problem(`concurrency \`${String(config.concurrency)}\` is no whole number from 0 to 1024`);
  if (resources !== undefined && optionalRecord(resources) === undefined) return problem('resources is not a mapping');
  return { config, resources: optionalRecord(resources) };
}
