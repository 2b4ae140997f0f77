// VirtualServices among themselves and inside: two that own one host, and rules that are never reached.

import type { Analyzer } from '../analyzer.ts';
import type { Field } from '../field.ts';
import { fullHost } from '../hosts.ts';
import { KIND } from '../kinds.ts';
import type { Report } from '../message.ts';
import type { Resource } from '../resource.ts';
import { isForMesh } from './virtual-service-gateways.ts';

export const conflictingHostsAnalyzer: Analyzer = {
  name: 'virtualservice.ConflictingMeshGatewayHostsAnalyzer',
  description: 'several VirtualServices of the mesh for one host',
  codes: ['IST0109'],
  analyze(world, report) {
    const byHost = new Map<string, { readonly resource: Resource; readonly field: Field }[]>();
    for (const resource of world.all(KIND.virtualService).filter(isForMesh))
      for (const field of resource.spec.at('hosts').items()) {
        const host = fullHost(field.text, resource.namespace, world.settings.clusterDomain);
        byHost.set(host, [...(byHost.get(host) ?? []), { resource, field }]);
      }
    for (const [host, owners] of byHost)
      for (const one of owners) {
        const others = owners.filter(
          (other) => other.resource !== one.resource && seeEachOther(one.resource, other.resource),
        );
        if (others.length === 0) continue;
        const names = [one, ...others].map(({ resource }) => resource.key).sort();
        report('IST0109', one.resource, one.field, names.join(','), host);
      }
  },
};

const exportsOf = (resource: Resource): readonly string[] => {
  const written = resource.spec
    .at('exportTo')
    .items()
    .map((item) => (item.text === '.' ? resource.namespace : item.text));
  return written.length === 0 ? ['*'] : written;
};

/** There is a namespace that sees both. */
function seeEachOther(a: Resource, b: Resource): boolean {
  const [first, second] = [exportsOf(a), exportsOf(b)];
  return first.includes('*') || second.includes('*') || first.some((namespace) => second.includes(namespace));
}

export const ruleOrderAnalyzer: Analyzer = {
  name: 'virtualservice.MatchesAnalyzer',
  description: 'rules and matches of a VirtualService that an earlier one takes over',
  codes: ['IST0130', 'IST0131'],
  analyze(world, report) {
    for (const resource of world.all(KIND.virtualService))
      for (const protocol of ['http', 'tls', 'tcp']) checkRules(resource, resource.spec.at(protocol).items(), report);
  },
};

/** A rule's own name, else its number. */
const label = (rule: Field, i: number): string => (rule.at('name').text === '' ? `#${i}` : `"${rule.at('name').text}"`);

function checkRules(resource: Resource, rules: readonly Field[], report: Report): void {
  const seen = new Map<string, string>();
  let takesAll: string | undefined;
  for (const [i, rule] of rules.entries()) {
    const name = label(rule, i);
    if (takesAll !== undefined) {
      report('IST0130', resource, rule, name, `rule ${takesAll} has no condition and takes every request`);
      continue;
    }
    const matches = rule.at('match').items();
    if (matches.length === 0) {
      takesAll = name;
      continue;
    }
    const fresh: string[] = [];
    let repeated = 0;
    for (const [j, match] of matches.entries()) {
      const key = canonical(match.value);
      const earlier = seen.get(key);
      if (earlier !== undefined) {
        repeated++;
        report('IST0131', resource, match, name, `#${j}`, earlier);
      } else fresh.push(key);
    }
    if (repeated === matches.length)
      report('IST0130', resource, rule, name, 'each of its matches already stands in an earlier rule');
    for (const key of fresh) if (!seen.has(key)) seen.set(key, name);
    if (matches.some((match) => takesEverything(match))) takesAll = name;
  }
}

/** Keys in one order; names of a match say nothing about what it matches. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  return `{${Object.entries(value)
    .filter(([key]) => key !== 'name' && key !== 'statPrefix')
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`)
    .join(',')}}`;
}

/** `prefix: /` alone. */
function takesEverything(match: Field): boolean {
  const names = Object.keys(match.record).filter((name) => name !== 'name' && name !== 'statPrefix');
  if (names.length === 0) return true;
  return names.length === 1 && names[0] === 'uri' && match.at('uri', 'prefix').text === '/';
}
