// Workloads of the analysed set: templates of controllers, and pods that no controller of the set makes.

import { DATAPLANE_MODE, DEFAULT_ENABLEMENT, decideEnrolment, type EnrolmentRules } from '../derive/enrolment.ts';
import { isSubset } from '../derive/labels.ts';
import { type Labels, list, record, text, textRecord } from '../derive/read.ts';
import type { Field } from './field.ts';
import { KIND, POD_TEMPLATES } from './kinds.ts';
import type { Resource } from './resource.ts';

export interface Workload {
  readonly resource: Resource;
  readonly namespace: string;
  readonly labels: Labels;
  readonly annotations: Labels;
  /** Of the template, or of the pod itself. */
  readonly metadata: Field;
  readonly podSpec: Field;
  /** Served by ztunnel, as far as labels tell. */
  readonly ambient: boolean;
  /** Has a sidecar, or its namespace's label asks for one. */
  readonly sidecar: boolean;
  /** Nothing but a proxy: a gateway, or the node proxy. */
  readonly proxyOnly: boolean;
  /** Part of a gateway or waypoint of the Gateway API: its name. */
  readonly gatewayName: string | undefined;
}

/** Istio's node agent captures nothing there. */
const UNCAPTURED = new Set(['kube-system', 'kube-public', 'kube-node-lease', 'local-path-storage']);

export function workloadsOf(
  resources: readonly Resource[],
  namespaceLabels: (name: string) => Labels,
  rootNamespace: string,
): readonly Workload[] {
  const rules: EnrolmentRules = {
    excludedNamespaces: UNCAPTURED,
    systemNamespace: rootNamespace,
    anySelector: DEFAULT_ENABLEMENT,
  };
  const made = (resource: Resource, template: Field): Workload => {
    const metadata = template.at('metadata');
    const podSpec = template.at('spec');
    const labels = textRecord(metadata.at('labels').value);
    const annotations = textRecord(metadata.at('annotations').value);
    const { namespace } = resource;
    const inNamespace = namespaceLabels(namespace);
    const pod = { namespace, labels, annotations, hostNetwork: podSpec.at('hostNetwork').value === true };
    const proxyOnly = isProxyOnly(podSpec);
    const sidecar = !proxyOnly && hasSidecar(labels, annotations, podSpec, inNamespace);
    const ambient = decideEnrolment(rules, pod, inNamespace).kind === 'enrol' && !sidecar;
    const gatewayName = labels['gateway.networking.k8s.io/gateway-name'];
    return { resource, namespace, labels, annotations, metadata, podSpec, ambient, sidecar, proxyOnly, gatewayName };
  };
  const controlled: Workload[] = [];
  const byNamespace = new Map<string, Workload[]>();
  for (const resource of resources) {
    const path = POD_TEMPLATES.get(resource.type);
    if (path === undefined || isOwned(resource)) continue;
    const workload = made(resource, resource.root.at(...path));
    controlled.push(workload);
    byNamespace.set(workload.namespace, byNamespace.get(workload.namespace) ?? []);
    byNamespace.get(workload.namespace)?.push(workload);
  }
  const covered = (pod: Resource): boolean =>
    isOwned(pod) && (byNamespace.get(pod.namespace) ?? []).some(({ labels }) => isSubset(labels, pod.labels));
  const pods = resources.filter(
    (resource) => resource.type === KIND.pod && !isFinished(resource) && !covered(resource),
  );
  return [...controlled, ...pods.map((pod) => made(pod, pod.root))];
}

const isOwned = (resource: Resource): boolean =>
  list(record(resource.object.metadata).ownerReferences).some((owner) => record(owner).controller === true);

function isFinished(pod: Resource): boolean {
  const phase = text(record(pod.object.status).phase);
  return phase === 'Succeeded' || phase === 'Failed';
}

function isProxyOnly(podSpec: Field): boolean {
  const containers = podSpec.at('containers').items();
  return containers.length > 0 && containers.every((container) => container.at('name').text === 'istio-proxy');
}

function hasSidecar(labels: Labels, annotations: Labels, podSpec: Field, namespace: Labels): boolean {
  if ('sidecar.istio.io/status' in annotations) return true;
  const containers = [...podSpec.at('containers').items(), ...podSpec.at('initContainers').items()];
  if (containers.some((container) => container.at('name').text === 'istio-proxy')) return true;
  const asked = labels['sidecar.istio.io/inject'];
  if (asked === 'false' || podSpec.at('hostNetwork').value === true) return false;
  if (namespace['istio-injection'] === 'disabled') return false;
  const byNamespace =
    namespace['istio-injection'] === 'enabled' ||
    (namespace['istio-injection'] === undefined &&
      (namespace['istio.io/rev'] ?? '') !== '' &&
      namespace[DATAPLANE_MODE] !== 'ambient');
  return byNamespace || asked === 'true';
}
