// MeshConfig (ConfigMap `istio`, key `mesh`), as far as the ambient control plane obeys it.

import { DEFAULT_TRUST_DOMAIN } from '../../model/identity.ts';
import { type LabelSelector, parseLabelSelector } from '../labels.ts';
import { list, record, text } from '../read.ts';
import { type MeshL7, parseMeshL7 } from './mesh-l7.ts';

export type Visibility = 'PUBLIC' | 'NAMESPACE' | 'NONE';

export interface MeshConfig {
  readonly rootNamespace: string;
  readonly trustDomain: string;
  /** `defaultConfig.discoveryAddress`, where proxies find the control plane; empty: its usual name. */
  readonly discoveryAddress: string;
  /** Namespaces that are seen at all: any may match; empty: all are. */
  readonly discoverySelectors: readonly LabelSelector[];
  /** Undefined: not configured, everything is public and no condition is written. */
  readonly serviceEntryVisibility: ServiceEntryVisibility | undefined;
  readonly l7: MeshL7;
}

export interface ServiceEntryVisibility {
  readonly fallback: Visibility;
  /** The first policy that matches wins; within one, any of its namespace selectors may. */
  readonly policies: readonly { readonly visibility: Visibility; readonly anyNamespace: readonly LabelSelector[] }[];
}

export const DEFAULT_ROOT_NAMESPACE = 'istio-system';

export const DEFAULT_MESH_CONFIG: MeshConfig = {
  rootNamespace: DEFAULT_ROOT_NAMESPACE,
  trustDomain: DEFAULT_TRUST_DOMAIN,
  discoveryAddress: '',
  discoverySelectors: [],
  serviceEntryVisibility: undefined,
  l7: parseMeshL7({}),
};

const VISIBILITIES: ReadonlySet<string> = new Set(['PUBLIC', 'NAMESPACE', 'NONE']);

/** Every item must be readable, else undefined: half a list of selectors would be another rule than the one written. */
function parseSelectors(items: readonly unknown[]): readonly LabelSelector[] | undefined {
  const parsed = items.map(parseLabelSelector);
  const good = parsed.filter((selector) => selector !== undefined);
  return good.length === parsed.length ? good : undefined;
}

function parseVisibility(value: unknown, problems: string[]): ServiceEntryVisibility | undefined {
  if (value === undefined || value === null) return undefined;
  const read = (field: string, word: unknown): Visibility => {
    if (word === undefined || word === null || word === '') return 'PUBLIC';
    if (VISIBILITIES.has(text(word))) return text(word) as Visibility;
    problems.push(
      `serviceEntryVisibility.${field}: \`${String(word)}\` is none of NONE, NAMESPACE, PUBLIC; NONE is used`,
    );
    return 'NONE';
  };
  const source = record(value);
  return {
    fallback: read('defaultVisibility', source.defaultVisibility),
    policies: list(source.policies).map((item, at) => {
      const policy = record(item);
      const rules = list(policy.matchingRules).map((rule) => record(rule).namespaceSelector);
      const anyNamespace = parseSelectors(rules);
      if (anyNamespace === undefined)
        problems.push(
          `serviceEntryVisibility.policies[${at}]: a namespaceSelector cannot be read; the policy matches nothing`,
        );
      return { visibility: read(`policies[${at}].visibility`, policy.visibility), anyNamespace: anyNamespace ?? [] };
    }),
  };
}

/**
 * Reads the mesh configuration.
 * @param value     the parsed YAML; anything but a mapping is an empty configuration
 * @param previous  what holds until now: discovery selectors that cannot be read leave the old ones in force, since
 *                  dropping them would show the control plane namespaces it was told not to look at
 * @returns the configuration, and one sentence for each thing that was not understood
 */
export function parseMeshConfig(
  value: unknown,
  previous: MeshConfig = DEFAULT_MESH_CONFIG,
): { readonly mesh: MeshConfig; readonly problems: readonly string[] } {
  const source = record(value);
  const problems: string[] = [];
  const selectors = parseSelectors(list(source.discoverySelectors));
  if (selectors === undefined)
    problems.push('discoverySelectors: a selector cannot be read; the previous list stays in force');
  return {
    mesh: {
      rootNamespace: text(source.rootNamespace) || DEFAULT_ROOT_NAMESPACE,
      trustDomain: text(source.trustDomain) || DEFAULT_TRUST_DOMAIN,
      discoveryAddress: text(record(source.defaultConfig).discoveryAddress),
      discoverySelectors: selectors ?? previous.discoverySelectors,
      serviceEntryVisibility: parseVisibility(source.serviceEntryVisibility, problems),
      l7: parseMeshL7(source),
    },
    problems,
  };
}
