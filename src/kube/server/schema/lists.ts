// How lists of built-in kinds merge (Kubernetes API reference: patch strategy, merge key, list type and map keys).
// A list that is not here is replaced whole.

/** How two lists become one. `patchKey` is strategic merge's; `keys` are server-side apply's. */
export type ListRule =
  | { readonly merge: 'atomic' }
  | { readonly merge: 'set' }
  | { readonly merge: 'byKey'; readonly keys: readonly string[]; readonly patchKey: string };

const ATOMIC: ListRule = { merge: 'atomic' };
const SET: ListRule = { merge: 'set' };
const by = (...keys: [string, ...string[]]): ListRule => ({ merge: 'byKey', keys, patchKey: keys[0] });
const CONDITIONS = by('type');

/** `<type>.<field>` → rule. Lists of conditions are by type everywhere and not named here. */
const RULES: Readonly<Record<string, ListRule>> = {
  'meta.v1.ObjectMeta.finalizers': SET,
  'meta.v1.ObjectMeta.ownerReferences': by('uid'),
  'core.v1.PodSpec.containers': by('name'),
  'core.v1.PodSpec.initContainers': by('name'),
  'core.v1.PodSpec.ephemeralContainers': by('name'),
  'core.v1.PodSpec.volumes': by('name'),
  'core.v1.PodSpec.imagePullSecrets': by('name'),
  'core.v1.PodSpec.hostAliases': by('ip'),
  'core.v1.PodSpec.resourceClaims': by('name'),
  'core.v1.PodSpec.schedulingGates': by('name'),
  'core.v1.PodSpec.topologySpreadConstraints': by('topologyKey', 'whenUnsatisfiable'),
  'core.v1.Container.env': by('name'),
  'core.v1.Container.ports': by('containerPort', 'protocol'),
  'core.v1.Container.volumeMounts': by('mountPath'),
  'core.v1.Container.volumeDevices': by('devicePath'),
  'core.v1.ResourceRequirements.claims': by('name'),
  'core.v1.EphemeralContainer.env': by('name'),
  'core.v1.EphemeralContainer.ports': by('containerPort', 'protocol'),
  'core.v1.EphemeralContainer.volumeMounts': by('mountPath'),
  'core.v1.PodStatus.podIPs': by('ip'),
  'core.v1.PodStatus.hostIPs': ATOMIC,
  'core.v1.ServiceSpec.ports': by('port', 'protocol'),
  'core.v1.ServiceAccount.secrets': by('name'),
  'core.v1.NodeSpec.podCIDRs': SET,
  'core.v1.NodeStatus.addresses': by('type'),
  'admissionregistration.k8s.io.v1.MutatingWebhookConfiguration.webhooks': by('name'),
  'admissionregistration.k8s.io.v1.ValidatingWebhookConfiguration.webhooks': by('name'),
  'gateway.networking.k8s.io.v1.GatewaySpec.listeners': by('name'),
  'gateway.networking.k8s.io.v1.GatewayStatus.listeners': by('name'),
};

export function listRuleOf(owner: string, field: string): ListRule {
  const rule = RULES[`${owner}.${field}`];
  if (rule !== undefined) return rule;
  return field === 'conditions' && owner.endsWith('Status') ? CONDITIONS : ATOMIC;
}
