// The variables of a container: what the image sets, the services of its namespace, envFrom, env. Pure over the objects
// that it is given. Later settings win, and may refer to earlier ones.

import type { IConfigMap } from 'kubernetes-models/v1/ConfigMap';
import type { ISecret } from 'kubernetes-models/v1/Secret';
import type { IService } from 'kubernetes-models/v1/Service';
import { fieldValue, type PodPlace, resourceValue } from './downward.ts';
import { expand } from './expand.ts';
import { type ContainerSpec, type Pod, PodProblem, podNamespace } from './types.ts';

/** Objects by name, in the pod's namespace. */
export interface NamespaceObjects {
  configMap(name: string): IConfigMap | undefined;
  secret(name: string): ISecret | undefined;
}

export interface EnvironmentInput {
  readonly pod: Pod;
  readonly container: ContainerSpec;
  readonly place: PodPlace;
  readonly hostname: string;
  readonly imageEnv: Readonly<Record<string, string>>;
  readonly objects: NamespaceObjects;
  /** All services of the pod's namespace, and `default/kubernetes`. */
  readonly services: Iterable<IService>;
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const configError = (message: string): PodProblem => new PodProblem('CreateContainerConfigError', message);

/** `REDIS_PRIMARY_SERVICE_HOST` and the rest, as Docker links had them. */
export function serviceVariables(services: Iterable<IService>): Map<string, string> {
  const found = new Map<string, string>();
  for (const service of services) {
    const ip = service.spec?.clusterIP;
    const [first] = service.spec?.ports ?? [];
    if (!ip || ip === 'None' || first === undefined) continue;
    const name = (service.metadata?.name ?? '').toUpperCase().replace(/[-.]/g, '_');
    found.set(`${name}_SERVICE_HOST`, ip);
    found.set(`${name}_SERVICE_PORT`, String(first.port));
    found.set(`${name}_PORT`, `${(first.protocol ?? 'TCP').toLowerCase()}://${ip}:${first.port}`);
    for (const port of service.spec?.ports ?? []) {
      const protocol = (port.protocol ?? 'TCP').toLowerCase();
      if (port.name) found.set(`${name}_SERVICE_PORT_${port.name.toUpperCase().replace(/-/g, '_')}`, String(port.port));
      const link = `${name}_PORT_${port.port}_${protocol.toUpperCase()}`;
      found.set(link, `${protocol}://${ip}:${port.port}`);
      found.set(`${link}_PROTO`, protocol);
      found.set(`${link}_PORT`, String(port.port));
      found.set(`${link}_ADDR`, ip);
    }
  }
  return found;
}

function linkedServices(input: EnvironmentInput): IService[] {
  const linked: IService[] = [];
  for (const service of input.services) {
    const { name, namespace } = service.metadata ?? {};
    const isApi = name === 'kubernetes' && namespace === 'default';
    if (isApi || (input.pod.spec?.enableServiceLinks !== false && namespace === podNamespace(input.pod)))
      linked.push(service);
  }
  return linked;
}

const text = (base64: string): string => Buffer.from(base64, 'base64').toString('utf8');

function fromSources(input: EnvironmentInput, env: Map<string, string>): void {
  for (const source of input.container.envFrom ?? []) {
    const prefix = source.prefix ?? '';
    const add = (name: string, value: string): void => {
      if (/^[^=\0]+$/.test(name)) env.set(`${prefix}${name}`, value);
    };
    if (source.configMapRef?.name) {
      const map = input.objects.configMap(source.configMapRef.name);
      if (map === undefined && source.configMapRef.optional !== true)
        throw configError(`configmap "${source.configMapRef.name}" not found`);
      for (const [name, value] of Object.entries(map?.data ?? {})) add(name, value);
    }
    if (source.secretRef?.name) {
      const secret = input.objects.secret(source.secretRef.name);
      if (secret === undefined && source.secretRef.optional !== true)
        throw configError(`secret "${source.secretRef.name}" not found`);
      for (const [name, value] of Object.entries(secret?.data ?? {})) add(name, text(value));
    }
  }
}

type ValueSource = NonNullable<NonNullable<ContainerSpec['env']>[number]['valueFrom']>;

/** Undefined when an optional reference leads nowhere: the variable is not set then. */
function referredValue(input: EnvironmentInput, from: ValueSource): string | undefined {
  if (from.fieldRef) {
    const value = fieldValue(from.fieldRef.fieldPath, input.pod, input.place);
    if (!value.ok) throw configError(value.error);
    return value.value;
  }
  if (from.resourceFieldRef) {
    const { containerName, resource, divisor } = from.resourceFieldRef;
    const spec = input.pod.spec;
    const of = [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])].find(
      ({ name }) => name === containerName,
    );
    const value = resourceValue(
      { resource, ...(divisor !== undefined && { divisor }) },
      of ?? input.container,
      input.place,
    );
    if (!value.ok) throw configError(value.error);
    return value.value;
  }
  if (from.configMapKeyRef) {
    const { name = '', key, optional } = from.configMapKeyRef;
    const map = input.objects.configMap(name);
    const value = map?.data?.[key] ?? (map?.binaryData?.[key] === undefined ? undefined : text(map.binaryData[key]));
    if (value === undefined && optional !== true)
      throw configError(
        map === undefined
          ? `configmap "${name}" not found`
          : `couldn't find key ${key} in ConfigMap ${podNamespace(input.pod)}/${name}`,
      );
    return value;
  }
  if (from.secretKeyRef) {
    const { name = '', key, optional } = from.secretKeyRef;
    const secret = input.objects.secret(name);
    const value = secret?.data?.[key];
    if (value === undefined && optional !== true)
      throw configError(
        secret === undefined
          ? `secret "${name}" not found`
          : `couldn't find key ${key} in Secret ${podNamespace(input.pod)}/${name}`,
      );
    return value === undefined ? undefined : text(value);
  }
  throw configError('an `env` entry refers to a kind of source that is not supported here');
}

/**
 * Builds the environment of one container.
 * @throws PodProblem CreateContainerConfigError naming what is missing; worth trying again when it appears
 */
export function buildEnvironment(input: EnvironmentInput): Record<string, string> {
  const services = serviceVariables(linkedServices(input));
  const set = new Map<string, string>();
  fromSources(input, set);
  for (const variable of input.container.env ?? []) {
    if (variable.valueFrom === undefined) {
      const lookup = (name: string): string | undefined => set.get(name) ?? services.get(name);
      set.set(variable.name, expand(variable.value ?? '', lookup));
    } else {
      const value = referredValue(input, variable.valueFrom);
      if (value !== undefined) set.set(variable.name, value);
    }
  }
  return {
    PATH,
    HOME: '/root',
    ...input.imageEnv,
    HOSTNAME: input.hostname,
    ...Object.fromEntries(services),
    ...Object.fromEntries(set),
  };
}

/** What is run: the image's entrypoint and arguments, replaced by the manifest's `command` and `args`. */
export function commandLine(
  container: ContainerSpec,
  image: { readonly entrypoint: readonly string[]; readonly command: readonly string[] },
  env: Readonly<Record<string, string>>,
): string[] {
  const known = (word: string): string => expand(word, (name) => env[name]);
  const { command = [], args = [] } = container;
  if (command.length > 0) return [...command, ...args].map(known);
  return [...image.entrypoint, ...(args.length > 0 ? args.map(known) : image.command)];
}
