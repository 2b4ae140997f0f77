// Which pods are captured, and how: the node agent and the CNI plugin ask the same functions. Pure.
// Istio: an ordered list of reasons to leave a pod alone, then a list of selectors of which any may match; annotations
// that cannot be read are ignored with a warning, never taken for something else.

import { fail, ok, type Result } from '../model/result.ts';
import { type LabelSelector, parseLabelSelector, selects } from './labels.ts';
import { type Json, type Labels, list, looseBoolean, optionalRecord, record, text, textRecord } from './read.ts';

export const DATAPLANE_MODE = 'istio.io/dataplane-mode';
export const SIDECAR_STATUS = 'sidecar.istio.io/status';
const BYPASS_INBOUND = 'ambient.istio.io/bypass-inbound-capture';
const DNS_CAPTURE = 'ambient.istio.io/dns-capture';
const VIRTUAL_INTERFACES = 'istio.io/reroute-virtual-interfaces';

const MAX_VIRTUAL_INTERFACES = 32;
/** What the kernel takes for a name (IFNAMSIZ), less everything that would need quoting in a rule. */
const INTERFACE_NAME = /^[A-Za-z0-9_.@-]{1,15}$/;

/** Both must hold; a selector that is left out holds for everything. */
export interface EnablementSelector {
  readonly pod: LabelSelector | undefined;
  readonly namespace: LabelSelector | undefined;
}

export interface EnrolmentRules {
  readonly excludedNamespaces: ReadonlySet<string>;
  /** Where the mesh's own parts run: its pods labelled `app: ztunnel` are never captured. */
  readonly systemNamespace: string;
  /** Any of them enrols. */
  readonly anySelector: readonly EnablementSelector[];
}

/** Istio's chart: the pod says `ambient`, or its namespace does and the pod does not say `none`. */
export const DEFAULT_ENABLEMENT: readonly EnablementSelector[] = [
  { pod: { everyRequirement: [{ key: DATAPLANE_MODE, operator: 'In', values: ['ambient'] }] }, namespace: undefined },
  {
    pod: { everyRequirement: [{ key: DATAPLANE_MODE, operator: 'NotIn', values: ['none'] }] },
    namespace: { everyRequirement: [{ key: DATAPLANE_MODE, operator: 'In', values: ['ambient'] }] },
  },
];

/** A pod, reduced to what capture depends on. */
export interface EnrolmentPod {
  readonly namespace: string;
  readonly labels: Labels;
  readonly annotations: Labels;
  readonly hostNetwork: boolean;
}

export type LeftOutReason = 'excludedNamespace' | 'nodeProxy' | 'hostNetwork' | 'sidecar' | 'notSelected';

export type Enrolment =
  | { readonly kind: 'enrol' }
  /** `text` ends the sentence "the pod is not in the mesh: …". */
  | { readonly kind: 'leaveOut'; readonly reason: LeftOutReason; readonly text: string };

const leaveOut = (reason: LeftOutReason, text: string): Enrolment => ({ kind: 'leaveOut', reason, text });

/** The parts of a Pod object that decide. */
export function enrolmentPod(object: Json): EnrolmentPod {
  const metadata = record(object.metadata);
  return {
    namespace: text(metadata.namespace),
    labels: textRecord(metadata.labels),
    annotations: textRecord(metadata.annotations),
    hostNetwork: record(object.spec).hostNetwork === true,
  };
}

/** Whether a pod is to be captured, or the first reason why not. Phase and address are the caller's affair. */
export function decideEnrolment(rules: EnrolmentRules, pod: EnrolmentPod, namespaceLabels: Labels): Enrolment {
  if (rules.excludedNamespaces.has(pod.namespace))
    return leaveOut('excludedNamespace', `namespace \`${pod.namespace}\` is excluded from the mesh`);
  if (pod.namespace === rules.systemNamespace && pod.labels.app === 'ztunnel')
    return leaveOut('nodeProxy', 'it is the node proxy itself');
  if (pod.hostNetwork) return leaveOut('hostNetwork', 'it uses the node`s network (`hostNetwork: true`)');
  if (Object.hasOwn(pod.annotations, SIDECAR_STATUS))
    return leaveOut('sidecar', `it has a sidecar (annotation \`${SIDECAR_STATUS}\`)`);
  const selected = rules.anySelector.some(
    (selector) =>
      (selector.pod === undefined || selects(selector.pod, pod.labels)) &&
      (selector.namespace === undefined || selects(selector.namespace, namespaceLabels)),
  );
  if (selected) return { kind: 'enrol' };
  const mode = pod.labels[DATAPLANE_MODE];
  return leaveOut(
    'notSelected',
    mode === undefined
      ? `neither it nor its namespace is labelled \`${DATAPLANE_MODE}: ambient\``
      : `it is labelled \`${DATAPLANE_MODE}: ${mode}\``,
  );
}

/**
 * Reads AMBIENT_ENABLEMENT_SELECTOR: a list of `{podSelector, namespaceSelector}`, LabelSelectors both.
 * @param value the parsed YAML
 * @returns the list, or a sentence about the first entry that cannot be understood; an empty list is refused
 */
export function parseEnablement(value: unknown): Result<readonly EnablementSelector[], string> {
  const entries = list(value);
  if (entries.length === 0)
    return fail('the list of enablement selectors is empty, so no pod would ever be in the mesh');
  const selectors: EnablementSelector[] = [];
  for (const [index, entry] of entries.entries()) {
    const fields = optionalRecord(entry);
    const unknown = fields && Object.keys(fields).find((key) => key !== 'podSelector' && key !== 'namespaceSelector');
    if (fields === undefined || unknown !== undefined)
      return fail(
        `enablement selector ${index + 1}: ${unknown === undefined ? 'not an object' : `\`${unknown}\` is unknown`}`,
      );
    const pod = fields.podSelector === undefined ? undefined : parseLabelSelector(fields.podSelector);
    const namespace = fields.namespaceSelector === undefined ? undefined : parseLabelSelector(fields.namespaceSelector);
    for (const [name, parsed] of [
      ['podSelector', pod],
      ['namespaceSelector', namespace],
    ] as const)
      if (fields[name] !== undefined && parsed === undefined)
        return fail(`enablement selector ${index + 1}: \`${name}\` is not a label selector`);
    selectors.push({ pod, namespace });
  }
  return ok(selectors);
}

/** How a pod's traffic is captured. */
export interface Redirection {
  /** Istio's "ingress mode": only what the pod sends is captured. */
  readonly captureInbound: boolean;
  readonly captureDns: boolean;
  /** What comes in through these is treated as sent by the pod (virtual machines, containers in the pod). */
  readonly virtualInterfaces: readonly string[];
}

/** @returns what the pod's annotations ask for, and a warning for each that cannot be read and is ignored */
export function redirectionOf(
  annotations: Labels,
  defaults: { readonly captureDns: boolean },
): { readonly redirection: Redirection; readonly warnings: readonly string[] } {
  const warnings: string[] = [];
  const flag = (key: string): boolean | undefined => {
    const value = annotations[key];
    if (value === undefined) return undefined;
    const parsed = looseBoolean(value);
    if (parsed === undefined)
      warnings.push(`annotation \`${key}\` ignored: \`${value.slice(0, 50)}\` is not true or false`);
    return parsed;
  };
  const names = (annotations[VIRTUAL_INTERFACES] ?? '').split(',').map((name) => name.trim());
  const virtualInterfaces: string[] = [];
  for (const name of names) {
    if (name === '') continue;
    if (INTERFACE_NAME.test(name) && virtualInterfaces.length < MAX_VIRTUAL_INTERFACES) virtualInterfaces.push(name);
    else
      warnings.push(`annotation \`${VIRTUAL_INTERFACES}\`: \`${name.slice(0, 50)}\` ignored, it is no interface name`);
  }
  return {
    redirection: {
      captureInbound: flag(BYPASS_INBOUND) !== true,
      captureDns: flag(DNS_CAPTURE) ?? defaults.captureDns,
      virtualInterfaces,
    },
    warnings,
  };
}
