// Security policies: namespaces and workloads that are not there, selectors where only targets count, open key fetching.

import { isSubset } from '../../derive/labels.ts';
import type { Analyzer } from '../analyzer.ts';
import { KIND } from '../kinds.ts';
import type { Report } from '../message.ts';
import type { Resource } from '../resource.ts';
import { hasTargets, selectorOf, type World } from '../world.ts';

const NAMESPACE_FIELDS = ['namespaces', 'notNamespaces'] as const;

export const authorizationPolicyAnalyzer: Analyzer = {
  name: 'authz.AuthorizationPoliciesAnalyzer',
  description: 'AuthorizationPolicies that select nothing, or name namespaces that do not exist',
  codes: ['IST0101', 'IST0127'],
  analyze(world, report) {
    const namespaces = world.all(KIND.namespace).map(({ name }) => name);
    for (const policy of world.all(KIND.authorizationPolicy)) {
      checkSelector(world, policy, report);
      if (namespaces.length === 0) continue; // none is known: nothing can be said
      for (const rule of policy.spec.at('rules').items())
        for (const from of rule.at('from').items())
          for (const name of NAMESPACE_FIELDS)
            for (const value of from.at('source', name).items())
              if (value.text !== '' && !namespaces.some((namespace) => fits(value.text, namespace)))
                report('IST0101', policy, value, 'namespace', value.text);
    }
  },
};

function fits(pattern: string, name: string): boolean {
  if (pattern === '*') return true;
  if (pattern.startsWith('*')) return name.endsWith(pattern.slice(1));
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : pattern === name;
}

function checkSelector(world: World, policy: Resource, report: Report): void {
  const selector = selectorOf(policy);
  if (selector === undefined || hasTargets(policy)) return;
  const inMesh = world
    .selected(policy.namespace, selector)
    .filter(
      ({ ambient, sidecar, proxyOnly, gatewayName }) => ambient || sidecar || proxyOnly || gatewayName !== undefined,
    );
  if (inMesh.length === 0 && world.knowsWorkloads) {
    const labels = Object.entries(selector).map(([key, value]) => `${key}=${value}`);
    report('IST0127', policy, policy.spec.at('selector'), labels.join(','));
  }
}

/** Kinds that a selector or targets attach. */
const ATTACHED = [KIND.authorizationPolicy, KIND.requestAuthentication, KIND.telemetry, KIND.wasmPlugin] as const;

export const gatewaySelectorAnalyzer: Analyzer = {
  name: 'k8sgateway.SelectorAnalyzer',
  description: 'selector policies on pods of a Gateway API gateway',
  codes: ['IST0166'],
  analyze(world, report) {
    for (const policy of world.all(...ATTACHED)) {
      const selector = selectorOf(policy);
      if (selector === undefined || Object.keys(selector).length === 0 || hasTargets(policy)) continue;
      const gateways = new Set(
        world
          .workloadsIn(policy.namespace)
          .flatMap(({ labels, gatewayName }) =>
            gatewayName !== undefined && isSubset(selector, labels) ? [gatewayName] : [],
          ),
      );
      for (const gateway of gateways) report('IST0166', policy, policy.spec.at('selector'), gateway);
    }
  },
};

export const jwksUriAnalyzer: Analyzer = {
  name: 'requestauthentication.JwksUriAnalyzer',
  description: 'keys fetched from anywhere',
  codes: ['IST0175'],
  analyze(world, report) {
    const istiod = world.workloads.find(({ labels }) => labels.app === 'istiod');
    if (istiod === undefined) return; // its environment is not known
    const blocked = istiod.podSpec
      .at('containers')
      .items()
      .flatMap((container) => container.at('env').items())
      .some(
        (variable) => variable.at('name').text === 'BLOCKED_CIDRS_IN_JWKS_URIS' && variable.at('value').text !== '',
      );
    if (blocked) return;
    const fetching = world.all(KIND.requestAuthentication).filter((authentication) =>
      authentication.spec
        .at('jwtRules')
        .items()
        .some((rule) => rule.at('jwksUri').text !== '' || rule.at('jwks').text === ''),
    );
    const [first] = fetching;
    if (first !== undefined)
      report(
        'IST0175',
        first,
        first.spec.at('jwtRules'),
        String(fetching.length),
        fetching
          .map(({ key }) => key)
          .sort()
          .join(','),
      );
  },
};
