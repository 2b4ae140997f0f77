// Rules that several of Istio's kinds share: visibility, attachment to workloads or targets, text matches, subsets.

import type { Field } from '../field.ts';
import type { Faults } from './faults.ts';
import { isDnsLabel } from './values.ts';

/** `exportTo`: names of namespaces, `.` or `*`; `~` (nobody) and `*` stand alone. */
export function checkExportTo(spec: Field, faults: Faults, allowNobody = false): void {
  const items = spec.at('exportTo').items();
  faults.unique(items, (item) => item.text);
  for (const item of items) {
    if (item.text === '.' || item.text === '*' || (item.text === '~' && allowNobody)) continue;
    if (!isDnsLabel(item.text)) faults.invalid(item, 'must be the name of a namespace, `.` or `*`');
  }
  const alone = items.find((item) => item.text === '*' || item.text === '~');
  if (alone !== undefined && items.length > 1) faults.invalid(alone, 'must be the only entry: it says everything');
}

/** Kinds that a policy may be attached to, by their group. */
const TARGETS: Readonly<Record<string, string>> = {
  Gateway: 'gateway.networking.k8s.io',
  GatewayClass: 'gateway.networking.k8s.io',
  Service: '',
  ServiceEntry: 'networking.istio.io',
};

/** `selector`, `targetRef` and `targetRefs`: at most one of them, and readable. */
export function checkAttachment(spec: Field, faults: Faults, selector = 'selector', labels = 'matchLabels'): void {
  faults.onlyOne(spec, selector, 'targetRef', 'targetRefs');
  faults.labels(spec.at(selector, labels));
  const single = spec.at('targetRef');
  for (const ref of [...(single.isSet ? [single] : []), ...spec.at('targetRefs').items()]) {
    faults.needs(ref.at('name'));
    if (!faults.needs(ref.at('kind'))) continue;
    const { text: kind } = ref.at('kind');
    const group = Object.hasOwn(TARGETS, kind) ? TARGETS[kind] : undefined;
    const written = ref.at('group').text === 'core' ? '' : ref.at('group').text;
    if (group === undefined || group !== written)
      faults.invalid(
        ref.at('kind'),
        `\`${written === '' ? '' : `${written}/`}${kind}\` cannot be a target: use Gateway or GatewayClass (gateway.networking.k8s.io), Service (core) or ServiceEntry (networking.istio.io)`,
      );
    if (ref.at('namespace').text !== '')
      faults.invalid(ref.at('namespace'), 'a target in another namespace is not supported');
  }
}

/** A StringMatch. An empty one means "is present" where `presence` holds. */
export function checkTextMatch(match: Field, faults: Faults, presence: boolean): void {
  faults.onlyOne(match, 'exact', 'prefix', 'regex');
  const [kind] = match.among('exact', 'prefix', 'regex');
  if (kind === undefined) {
    if (!presence) faults.required(match, 'one of exact, prefix, regex must be set');
    return;
  }
  if (kind === 'regex' && !(presence && match.at('regex').text === '*')) faults.regex(match.at('regex'));
}

/** `Percent{value}` */
export function checkPercent(percent: Field, faults: Faults): void {
  faults.percent(percent.at('value'));
}

/** `networking.istio.io` Destination: a host, perhaps a subset and a port. */
export function checkDestination(destination: Field, faults: Faults): void {
  if (!destination.isSet) {
    faults.required(destination);
    return;
  }
  const host = destination.at('host');
  if (faults.needs(host)) {
    if (host.text === '*') faults.invalid(host, 'a destination must be one host, `*` is none');
    else faults.host(host, { wildcard: true });
  }
  if (destination.at('subset').isSet && destination.at('subset').text !== '') faults.label(destination.at('subset'));
  const port = destination.at('port');
  if (port.isSet) faults.port(port.at('number'));
}
