// Customisation of a Gateway's parts by ConfigMap: one entry a kind, each a YAML overlay.

import { parse } from 'yaml';
import { type ConfigMap, OVERLAY_KEYS, type OverlayKey } from '../objects/config-map.ts';
import { type Json, optionalRecord } from '../read.ts';
import { strategicMerge } from './overlay.ts';
import type { RenderedObject } from './render.ts';

export type Overlays = Readonly<Partial<Record<OverlayKey, Json>>>;

const KIND_KEYS: Readonly<Record<string, OverlayKey>> = {
  ServiceAccount: 'serviceAccount',
  Service: 'service',
  Deployment: 'deployment',
};

/** What the controller itself decides. */
const FIXED = ['name', 'namespace', 'ownerReferences'] as const;
const KNOWN: ReadonlySet<string> = new Set(OVERLAY_KEYS);

/**
 * Reads the overlays of a ConfigMap.
 * @returns the overlays, or why they cannot be used: then nothing is applied
 */
export function parseOverlays(configMap: ConfigMap): Overlays | { readonly problem: string } {
  const where = `ConfigMap ${configMap.namespace}/${configMap.name}`;
  const unknown = configMap.keys.find((key) => !KNOWN.has(key));
  if (unknown !== undefined) return { problem: `${where}: entry \`${unknown}\` is none of ${OVERLAY_KEYS.join(', ')}` };
  const overlays: Partial<Record<OverlayKey, Json>> = {};
  for (const key of OVERLAY_KEYS) {
    const written = configMap.overlays[key];
    if (written === undefined) continue;
    let value: unknown;
    try {
      value = parse(written, { maxAliasCount: 10 });
    } catch (error) {
      return { problem: `${where}: \`${key}\` is not YAML: ${(error as Error).message.split('\n', 1)[0]}` };
    }
    const overlay = value === null ? {} : optionalRecord(value);
    if (overlay === undefined) return { problem: `${where}: \`${key}\` is not a mapping` };
    const metadata = overlay.metadata === undefined ? {} : optionalRecord(overlay.metadata);
    if (metadata === undefined) return { problem: `${where}: \`${key}\`: metadata is not a mapping` };
    if ('$patch' in overlay || '$patch' in metadata)
      return { problem: `${where}: \`${key}\` may not replace the whole object or its metadata` };
    const fixed = FIXED.find((field) => Object.hasOwn(metadata, field));
    if (fixed !== undefined) return { problem: `${where}: \`${key}\` may not set metadata.${fixed}` };
    try {
      strategicMerge({}, overlay);
    } catch (error) {
      return { problem: `${where}: \`${key}\`: ${(error as Error).message}` };
    }
    overlays[key] = overlay;
  }
  return overlays;
}

/**
 * Applies overlays in order.
 * @param optional  objects that exist only where an overlay asks for them, by its key
 */
export function overlaid(
  objects: readonly RenderedObject[],
  optional: Readonly<Record<string, RenderedObject>>,
  overlays: readonly Overlays[],
): readonly RenderedObject[] {
  const merged = (object: RenderedObject, key: OverlayKey): RenderedObject => {
    let result: Json = object;
    for (const overlay of overlays) {
      const { apiVersion: _apiVersion, kind: _kind, ...change } = overlay[key] ?? {};
      result = strategicMerge(result, change);
    }
    return result as RenderedObject;
  };
  const wanted = (Object.entries(optional) as [OverlayKey, RenderedObject][]).filter(([key]) =>
    overlays.some((overlay) => overlay[key] !== undefined),
  );
  return [
    ...objects.map((object) => merged(object, KIND_KEYS[object.kind] as OverlayKey)),
    ...wanted.map(([key, object]) => merged(object, key)),
  ];
}
