// What can be seen on a live mesh alone: conditions that the control plane wrote, versions of definitions, webhooks.

import { record, text } from '../../derive/read.ts';
import type { Analyzer } from '../analyzer.ts';
import type { Field } from '../field.ts';
import { KIND } from '../kinds.ts';
import type { Resource } from '../resource.ts';

/** Condition types that must not be False, by kind. */
const WANTED: Readonly<Record<string, readonly string[]>> = {
  [KIND.service]: ['istio.io/WaypointBound'],
  [KIND.serviceEntry]: ['istio.io/WaypointBound'],
  [KIND.workloadEntry]: ['istio.io/WaypointBound'],
  [KIND.authorizationPolicy]: ['ZtunnelAccepted', 'WaypointAccepted'],
  [KIND.gateway]: ['Accepted', 'Programmed'],
  [KIND.httpRoute]: ['Accepted', 'ResolvedRefs'],
  [KIND.grpcRoute]: ['Accepted', 'ResolvedRefs'],
};

/** Conditions of the object itself, and of a route's parents and a Gateway's listeners. */
function conditionsOf(resource: Resource): readonly Field[] {
  const status = resource.root.at('status');
  const nested = [...status.at('parents').items(), ...status.at('listeners').items()];
  return [status, ...nested].flatMap((part) => part.at('conditions').items());
}

export const conditionAnalyzer: Analyzer = {
  name: 'conditions.ConditionAnalyzer',
  description: 'objects whose status says that they have no effect',
  codes: ['IST0171'],
  analyze(world, report) {
    for (const [type, wanted] of Object.entries(WANTED))
      for (const resource of world.all(type))
        for (const condition of conditionsOf(resource)) {
          const [name, status, reason] = ['type', 'status', 'reason'].map((key) => condition.at(key).text);
          if (!wanted.includes(name ?? '')) continue;
          if (status === 'False' || reason === 'PartiallyInvalid')
            report('IST0171', resource, condition, name ?? '', reason ?? '', condition.at('message').text);
        }
  },
};

/** The least bundle of the Gateway API from which Istio reads the kind. */
const LEAST_BUNDLE: ReadonlyMap<string, { readonly version: string; readonly type: string }> = new Map([
  ['grpcroutes.gateway.networking.k8s.io', { version: 'v1.1.0', type: KIND.grpcRoute }],
  ['backendtlspolicies.gateway.networking.k8s.io', { version: 'v1.4.0', type: KIND.backendTlsPolicy }],
  ['tlsroutes.gateway.networking.k8s.io', { version: 'v1.5.0', type: KIND.tlsRoute }],
  ['tcproutes.gateway.networking.k8s.io', { version: 'v1.6.0', type: KIND.tcpRoute }],
]);
const BUNDLE = 'gateway.networking.k8s.io/bundle-version';

export const definitionVersionAnalyzer: Analyzer = {
  name: 'gatewayapi.CRDVersionAnalyzer',
  description: 'Gateway API definitions that are too old for the mesh',
  codes: ['IST0176'],
  analyze(world, report) {
    for (const definition of world.all(KIND.definition)) {
      const least = LEAST_BUNDLE.get(definition.name);
      if (least === undefined || world.all(least.type).length === 0) continue; // nobody misses the kind
      const installed = definition.annotations[BUNDLE];
      if (installed !== undefined && isBelow(installed, least.version))
        report(
          'IST0176',
          definition,
          definition.root.at('metadata', 'annotations', BUNDLE),
          definition.name,
          installed,
          least.version,
        );
    }
  },
};

function isBelow(version: string, least: string): boolean {
  const numbers = (written: string): number[] => (/^v?(\d+)\.(\d+)/.exec(written) ?? []).slice(1).map(Number);
  const [major = 0, minor = 0] = numbers(version);
  const [wantedMajor = 0, wantedMinor = 0] = numbers(least);
  return major < wantedMajor || (major === wantedMajor && minor < wantedMinor);
}

export const webhookAnalyzer: Analyzer = {
  name: 'webhook.Analyzer',
  description: 'webhooks of the mesh that overlap, or whose Service is missing',
  codes: ['IST0139'],
  analyze(world, report) {
    const services = world.all(KIND.service);
    const seen = new Map<string, string>();
    for (const configuration of world.all(KIND.mutatingWebhook, KIND.validatingWebhook)) {
      if (!/istio/.test(configuration.name) && configuration.labels.app !== 'sidecar-injector') continue;
      for (const webhook of configuration.root.at('webhooks').items()) {
        const service = record(webhook.at('clientConfig', 'service').value);
        const [namespace, name] = [text(service.namespace), text(service.name)];
        if (name !== '' && services.length > 0 && world.get(KIND.service, namespace, name) === undefined)
          report(
            'IST0139',
            configuration,
            webhook.at('clientConfig', 'service'),
            `webhook \`${webhook.at('name').text}\` asks Service ${namespace}/${name}, which does not exist`,
          );
        if (configuration.type !== KIND.mutatingWebhook) continue;
        const scope = JSON.stringify([
          webhook.at('namespaceSelector').value ?? {},
          webhook.at('objectSelector').value ?? {},
        ]);
        const other = seen.get(scope);
        if (other !== undefined && other !== configuration.name)
          report(
            'IST0139',
            configuration,
            webhook,
            `webhook \`${webhook.at('name').text}\` picks the same pods as one of ${other}`,
          );
        seen.set(scope, configuration.name);
      }
    }
  },
};
