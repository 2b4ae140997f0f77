// Pods and pod templates: what is filled in and what is refused (Kubernetes API reference: PodSpec, Container).

import type { IContainer } from 'kubernetes-models/v1/Container';
import type { IPod } from 'kubernetes-models/v1/Pod';
import type { IPodSpec } from 'kubernetes-models/v1/PodSpec';
import type { IProbe } from 'kubernetes-models/v1/Probe';
import type { IVolume } from 'kubernetes-models/v1/Volume';
import { duplicate, type FieldFault, forbiddenField, invalidField, required } from '../errors.ts';
import { sameJson } from '../json.ts';
import type { KindRules } from './kind.ts';
import { admitServiceAccount } from './service-account.ts';
import { isPort, isPortName, nameProblem, PORT_NAME_TEXT, PORT_TEXT, validateLabels } from './validate-names.ts';

export const podRules: KindRules<IPod> = {
  defaults(pod) {
    if (pod.spec === undefined) return;
    defaultPodSpec(pod.spec);
    pod.spec.enableServiceLinks ??= true;
    pod.spec.preemptionPolicy ??= 'PreemptLowerPriority';
    pod.spec.priority ??= 0;
    pod.spec.tolerations ??= [];
    for (const key of ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'])
      if (!pod.spec.tolerations.some((toleration) => toleration.key === key))
        pod.spec.tolerations.push({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 });
  },
  admit(pod, context) {
    if (pod.spec === undefined) return;
    admitServiceAccount(pod, context.store);
    pod.status = { phase: 'Pending', qosClass: qosClass(pod.spec) };
  },
  validate(pod) {
    if (pod.spec === undefined) return [required('spec.containers')];
    return validatePodSpec(pod.spec, 'spec');
  },
  validateUpdate(pod, before) {
    return changesOnlyWhatPodsMay(pod.spec, before.spec)
      ? []
      : [
          forbiddenField(
            'spec',
            'pod updates may not change fields other than `spec.containers[*].image`, `spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative) or `spec.tolerations` (only additions to existing tolerations)',
          ),
        ];
  },
};

/** What a Pod and a pod template have in common. */
export function defaultPodSpec(spec: IPodSpec): void {
  spec.restartPolicy ??= 'Always';
  spec.dnsPolicy ??= 'ClusterFirst';
  spec.schedulerName ??= 'default-scheduler';
  spec.securityContext ??= {};
  spec.terminationGracePeriodSeconds ??= 30;
  if (spec.serviceAccountName === undefined && spec.serviceAccount !== undefined)
    spec.serviceAccountName = spec.serviceAccount;
  if (spec.serviceAccountName !== undefined) spec.serviceAccount = spec.serviceAccountName;
  for (const container of [...(spec.initContainers ?? []), ...(spec.containers ?? [])])
    defaultContainer(container, spec.hostNetwork === true);
  for (const volume of spec.volumes ?? []) defaultVolume(volume);
}

/** Also for ephemeral containers, whose fields are a part of these. */
export function defaultContainer(container: IContainer, hostNetwork: boolean): void {
  container.imagePullPolicy ??= isLatest(container.image ?? '') ? 'Always' : 'IfNotPresent';
  container.resources ??= {};
  container.terminationMessagePath ??= '/dev/termination-log';
  container.terminationMessagePolicy ??= 'File';
  for (const port of container.ports ?? []) {
    port.protocol ??= 'TCP';
    if (hostNetwork) port.hostPort ??= port.containerPort;
  }
  for (const env of container.env ?? []) {
    const field = env.valueFrom?.fieldRef;
    if (field) field.apiVersion ??= 'v1';
  }
  for (const probe of [container.livenessProbe, container.readinessProbe, container.startupProbe])
    if (probe) defaultProbe(probe);
  for (const hook of [container.lifecycle?.postStart, container.lifecycle?.preStop])
    if (hook?.httpGet) {
      hook.httpGet.path ??= '/';
      hook.httpGet.scheme ??= 'HTTP';
    }
  for (const list of [container.resources.limits])
    for (const [name, quantity] of Object.entries(list ?? {})) {
      container.resources.requests ??= {};
      container.resources.requests[name] ??= quantity;
    }
}

/** An image without a tag, or with the tag `latest`, and without a digest. */
function isLatest(image: string): boolean {
  if (image.includes('@')) return false;
  const tag = /:([^/:]+)$/.exec(image)?.[1];
  return tag === undefined || tag === 'latest';
}

function defaultProbe(probe: IProbe): void {
  probe.timeoutSeconds ??= 1;
  probe.periodSeconds ??= 10;
  probe.successThreshold ??= 1;
  probe.failureThreshold ??= 3;
  if (probe.httpGet) {
    probe.httpGet.path ??= '/';
    probe.httpGet.scheme ??= 'HTTP';
  }
  if (probe.grpc) probe.grpc.service ??= '';
}

function defaultVolume(volume: IVolume): void {
  if (volume.secret) volume.secret.defaultMode ??= 0o644;
  if (volume.configMap) volume.configMap.defaultMode ??= 0o644;
  if (volume.hostPath) volume.hostPath.type ??= '';
  for (const item of volume.downwardAPI?.items ?? []) if (item.fieldRef) item.fieldRef.apiVersion ??= 'v1';
  if (volume.downwardAPI) volume.downwardAPI.defaultMode ??= 0o644;
  if (volume.projected) {
    volume.projected.defaultMode ??= 0o644;
    for (const source of volume.projected.sources ?? []) {
      if (source.serviceAccountToken) source.serviceAccountToken.expirationSeconds ??= 3600;
      for (const item of source.downwardAPI?.items ?? []) if (item.fieldRef) item.fieldRef.apiVersion ??= 'v1';
    }
  }
  if (Object.keys(volume).length === 1) volume.emptyDir = {};
}

function qosClass(spec: IPodSpec): 'Guaranteed' | 'Burstable' | 'BestEffort' {
  const all = [...(spec.initContainers ?? []), ...spec.containers];
  const amounts = (list: Record<string, unknown> | undefined) => ['cpu', 'memory'].map((name) => list?.[name]);
  const [limits, requests] = [
    all.map((c) => amounts(c.resources?.limits)),
    all.map((c) => amounts(c.resources?.requests)),
  ];
  if ([...limits, ...requests].flat().every((amount) => amount === undefined)) return 'BestEffort';
  const guaranteed = limits.every((of, i) =>
    of.every((amount, j) => amount !== undefined && amount === requests[i]?.[j]),
  );
  return guaranteed ? 'Guaranteed' : 'Burstable';
}

export function validatePodSpec(spec: IPodSpec, path: string): FieldFault[] {
  const faults: FieldFault[] = [];
  if ((spec.containers ?? []).length === 0) faults.push(required(`${path}.containers`));
  const volumes = new Set<string>();
  for (const [i, { name }] of (spec.volumes ?? []).entries()) {
    const at = `${path}.volumes[${i}].name`;
    if (!name) faults.push(required(at));
    else if (nameProblem('label', name)) faults.push(invalidField(at, name, nameProblem('label', name) ?? ''));
    else if (volumes.has(name)) faults.push(duplicate(at, name));
    volumes.add(name);
  }
  const names = new Set<string>();
  for (const list of ['initContainers', 'containers'] as const)
    for (const [i, container] of (spec[list] ?? []).entries())
      faults.push(...validateContainer(container, `${path}.${list}[${i}]`, names, volumes));
  for (const field of ['terminationGracePeriodSeconds', 'activeDeadlineSeconds'] as const)
    if ((spec[field] ?? 0) < 0)
      faults.push(invalidField(`${path}.${field}`, spec[field], 'must be greater than or equal to 0'));
  faults.push(...validateLabels(spec.nodeSelector, `${path}.nodeSelector`));
  for (const field of ['serviceAccountName', 'nodeName'] as const) {
    const problem = spec[field] ? nameProblem('subdomain', spec[field]) : undefined;
    if (problem) faults.push(invalidField(`${path}.${field}`, spec[field], problem));
  }
  return faults;
}

function validateContainer(
  container: IContainer,
  path: string,
  names: Set<string>,
  volumes: ReadonlySet<string>,
): FieldFault[] {
  const faults: FieldFault[] = [];
  const { name, image } = container;
  if (!name) faults.push(required(`${path}.name`));
  else if (nameProblem('label', name))
    faults.push(invalidField(`${path}.name`, name, nameProblem('label', name) ?? ''));
  else if (names.has(name)) faults.push(duplicate(`${path}.name`, name));
  names.add(name);
  if (!image) faults.push(required(`${path}.image`));
  else if (image !== image.trim())
    faults.push(invalidField(`${path}.image`, image, 'must not have leading or trailing whitespace'));
  faults.push(...validatePorts(container, path));
  for (const [i, env] of (container.env ?? []).entries()) {
    const at = `${path}.env[${i}]`;
    if (!env.name) faults.push(required(`${at}.name`));
    else if (/[=\0]/.test(env.name)) faults.push(invalidField(`${at}.name`, env.name, "must not contain '='"));
    if (env.valueFrom && env.value)
      faults.push(invalidField(`${at}.valueFrom`, '', 'may not be specified when `value` is not empty'));
    else if (env.valueFrom && Object.keys(env.valueFrom).length !== 1)
      faults.push(
        invalidField(
          `${at}.valueFrom`,
          '',
          'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`',
        ),
      );
  }
  const mounted = new Set<string>();
  for (const [i, mount] of (container.volumeMounts ?? []).entries()) {
    const at = `${path}.volumeMounts[${i}]`;
    if (!mount.name) faults.push(required(`${at}.name`));
    else if (!volumes.has(mount.name)) faults.push({ type: 'notFound', path: `${at}.name`, value: mount.name });
    if (!mount.mountPath) faults.push(required(`${at}.mountPath`));
    else if (mounted.has(mount.mountPath))
      faults.push(invalidField(`${at}.mountPath`, mount.mountPath, 'must be unique'));
    mounted.add(mount.mountPath);
  }
  for (const [field, probe] of Object.entries({
    livenessProbe: container.livenessProbe,
    readinessProbe: container.readinessProbe,
    startupProbe: container.startupProbe,
  }))
    if (probe) faults.push(...validateProbe(probe, `${path}.${field}`));
  return faults;
}

function validatePorts(container: IContainer, path: string): FieldFault[] {
  const faults: FieldFault[] = [];
  const names = new Set<string>();
  for (const [i, port] of (container.ports ?? []).entries()) {
    const at = `${path}.ports[${i}]`;
    if (port.containerPort === undefined) faults.push(required(`${at}.containerPort`));
    else if (!isPort(port.containerPort))
      faults.push(invalidField(`${at}.containerPort`, port.containerPort, PORT_TEXT));
    if (port.name === undefined) continue;
    if (!isPortName(port.name)) faults.push(invalidField(`${at}.name`, port.name, PORT_NAME_TEXT));
    else if (names.has(port.name)) faults.push(duplicate(`${at}.name`, port.name));
    names.add(port.name);
  }
  return faults;
}

function validateProbe(probe: IProbe, path: string): FieldFault[] {
  const handlers = (['exec', 'httpGet', 'tcpSocket', 'grpc'] as const).filter(
    (handler) => probe[handler] !== undefined,
  );
  if (handlers.length === 0) return [required(path, 'must specify a handler type')];
  const faults: FieldFault[] = [];
  for (const handler of handlers.slice(1))
    faults.push(forbiddenField(`${path}.${handler}`, 'may not specify more than 1 handler type'));
  for (const field of [
    'initialDelaySeconds',
    'timeoutSeconds',
    'periodSeconds',
    'successThreshold',
    'failureThreshold',
  ] as const)
    if ((probe[field] ?? 0) < 0)
      faults.push(invalidField(`${path}.${field}`, probe[field], 'must be greater than or equal to 0'));
  const port = probe.httpGet?.port ?? probe.tcpSocket?.port;
  if (port !== undefined && !(typeof port === 'number' ? isPort(port) : isPortName(port)))
    faults.push(
      invalidField(`${path}.${handlers[0]}.port`, port, typeof port === 'number' ? PORT_TEXT : PORT_NAME_TEXT),
    );
  return faults;
}

function changesOnlyWhatPodsMay(spec: IPodSpec | undefined, before: IPodSpec | undefined): boolean {
  const fixed = (of: IPodSpec | undefined) => {
    const {
      activeDeadlineSeconds: _a,
      terminationGracePeriodSeconds: _t,
      tolerations: _l,
      schedulingGates: _s,
      ...rest
    } = of ?? { containers: [] };
    const withoutImage = ({ image: _, ...container }: IContainer) => container;
    return {
      ...rest,
      containers: rest.containers.map(withoutImage),
      initContainers: (rest.initContainers ?? []).map(withoutImage),
    };
  };
  return sameJson(fixed(spec), fixed(before));
}
