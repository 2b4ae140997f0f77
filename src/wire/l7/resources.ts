// The resources of L7 proxies as bytes: a protobuf message of one field, which holds the model's own value as JSON.
// The model is the schema: control plane and proxy are one program in one version, and where they are not, what the
// older does not know is refused as a whole, so that it keeps what it had and says so (a NACK).
//
// Runs per changed resource. 3,000 routes of 780 bytes are decoded in some 25 ms, two thirds of which are JSON.parse.

import type { ProxyCertificate, ProxyConfig } from '../../model/proxy/proxy-config.ts';
import type { RouteResource } from '../../model/proxy/route-resource.ts';
import type { ServiceConfig } from '../../model/proxy/service-config.ts';
import { fail, ok, type Result } from '../../model/result.ts';
import { once, ProtoError, ProtoReader } from '../protobuf/reader.ts';
import { ProtoWriter } from '../protobuf/writer.ts';
import { routeName } from './names.ts';
import { certificateShape, proxyShape } from './proxy-shapes.ts';
import { routeShape } from './route-shapes.ts';
import { serviceShape } from './service-shapes.ts';
import type { Shape } from './shape.ts';

/** A service of 100,000 endpoints in subsets is still below. */
const MAX_BYTES = 16 * 1024 * 1024;

const JSON_FIELD = 1;

/**
 * Whether a proxy would take a value: who sends one that it refuses makes it refuse all that comes with it.
 * @returns what is wrong, with its path; undefined: nothing
 */
export const problems: Readonly<{
  proxy(value: ProxyConfig): string | undefined;
  route(value: RouteResource): string | undefined;
  service(value: ServiceConfig): string | undefined;
  certificate(value: ProxyCertificate): string | undefined;
}> = { proxy: proxyShape, route: routeShape, service: serviceShape, certificate: certificateShape };

const encode = (value: object): Uint8Array => new ProtoWriter().string(JSON_FIELD, JSON.stringify(value)).finish();

function readJson(bytes: Uint8Array): string {
  const reader = new ProtoReader(bytes);
  let json: string | undefined;
  while (reader.next()) {
    if (reader.field !== JSON_FIELD)
      throw new ProtoError(`has a field ${reader.field} that this version does not know`);
    once(json, 'json');
    json = reader.string();
  }
  return json ?? '';
}

/** @returns the value, which is the caller's own; or what is wrong with it, with the path to it */
function decode<T>(shape: Shape<T>, name: string, bytes: Uint8Array): Result<T, string> {
  const refused = (why: string): Result<T, string> => fail(`${name.slice(0, 1024)}: ${why}`);
  if (bytes.byteLength > MAX_BYTES) return refused(`has ${bytes.byteLength} bytes, at most ${MAX_BYTES} are taken`);
  let value: unknown;
  try {
    value = JSON.parse(readJson(bytes));
  } catch (error) {
    // A syntax error's text quotes what was read, which may be a key.
    return refused(error instanceof ProtoError ? error.message : 'is no JSON');
  }
  const problem = shape(value);
  if (problem !== undefined) return refused(problem);
  return ok(value as T);
}

/** A resource that says it is another would be removed under a name that nobody knows. */
const named = <T>(result: Result<T, string>, name: string, isNamed: (value: T) => boolean): Result<T, string> =>
  result.ok && !isNamed(result.value) ? fail(`${name.slice(0, 1024)}: holds a resource of another name`) : result;

export const proxyName = (proxy: Pick<ProxyConfig, 'namespace' | 'name'>): string => `${proxy.namespace}/${proxy.name}`;

export const encodeProxy: (proxy: ProxyConfig) => Uint8Array = encode;
export const decodeProxy = (name: string, bytes: Uint8Array): Result<ProxyConfig, string> =>
  named(decode(proxyShape, name, bytes), name, (proxy) => proxyName(proxy) === name);

export const encodeRoute: (route: RouteResource) => Uint8Array = encode;
export const decodeRoute = (name: string, bytes: Uint8Array): Result<RouteResource, string> =>
  named(decode(routeShape, name, bytes), name, ({ origin }) => {
    const own = routeName(origin);
    return name === own || name.startsWith(`${own}/`);
  });

export const encodeServiceConfig: (service: ServiceConfig) => Uint8Array = encode;
export const decodeServiceConfig = (name: string, bytes: Uint8Array): Result<ServiceConfig, string> =>
  named(decode(serviceShape, name, bytes), name, ({ key }) => key === name);

export const encodeCertificate: (certificate: ProxyCertificate) => Uint8Array = encode;
/** The problem never quotes what was read. */
export const decodeCertificate = (name: string, bytes: Uint8Array): Result<ProxyCertificate, string> =>
  decode(certificateShape, name, bytes);
