// Whole discovery resources <-> model: from and to the bytes inside `Any`, with names and versions. The messages of a
// stream (requests, responses, nonces) are the clients' and the servers' affair.

import { create, toBinary } from '@bufbuild/protobuf';
import type { AddressUpdate } from '../../model/indexed-world.ts';
import type { Policy } from '../../model/policy.ts';
import { fail, ok, type Result, unreachable } from '../../model/result.ts';
import type { Service, Workload } from '../../model/workload.ts';
import { AuthorizationSchema } from '../gen/istio/security/authorization_pb.ts';
import { AddressSchema, WorkloadSchema } from '../gen/istio/workload/workload_pb.ts';
import { xxhash64 } from '../xxhash64.ts';
import { readAddressBytes } from './address-bytes.ts';
import { readAuthorizationBytes } from './authorization-bytes.ts';
import type { Decoded } from './decoding.ts';
import { decodePolicy, policyMessage } from './policy.ts';
import { decodeService, serviceMessage } from './service.ts';
import { decodeWorkload, workloadMessage } from './workload.ts';

/** One `istio.workload.Address`. */
export type Address = AddressUpdate;

const WRITE = { writeUnknownFields: false };

/** Reads the bytes of one `istio.workload.Address`. @returns the reason if it must be refused */
export function decodeAddress(bytes: Uint8Array): Result<Decoded<Address>, string> {
  const message = parse(() => readAddressBytes(bytes));
  if (!message.ok) return message;
  const { type } = message.value;
  switch (type.case) {
    case 'workload': {
      const workload = decodeWorkload(type.value);
      if (!workload.ok) return workload;
      return ok({ value: { kind: 'workload', workload: workload.value.value }, warnings: workload.value.warnings });
    }
    case 'service': {
      const service = decodeService(type.value);
      if (!service.ok) return service;
      return ok({ value: { kind: 'service', service: service.value.value }, warnings: service.value.warnings });
    }
    case undefined:
      return fail('address is neither a workload nor a service');
    default:
      return unreachable(type);
  }
}

/** Reads the bytes of one `istio.security.Authorization`. @param key the resource name */
export function decodeAuthorization(key: string, bytes: Uint8Array): Result<Decoded<Policy>, string> {
  const message = parse(() => readAuthorizationBytes(bytes));
  return message.ok ? decodePolicy(key, message.value) : message;
}

/** The bytes of an `istio.workload.Address` holding this workload. */
export const encodeWorkload = (workload: Workload): Uint8Array<ArrayBuffer> =>
  toBinary(
    AddressSchema,
    create(AddressSchema, { type: { case: 'workload', value: workloadMessage(workload) } }),
    WRITE,
  );

/** The bytes of an `istio.workload.Workload`, for clients of that type. */
export const encodeBareWorkload = (workload: Workload): Uint8Array<ArrayBuffer> =>
  toBinary(WorkloadSchema, create(WorkloadSchema, workloadMessage(workload)), WRITE);

/** The bytes of an `istio.workload.Address` holding this service. */
export const encodeService = (service: Service): Uint8Array<ArrayBuffer> =>
  toBinary(AddressSchema, create(AddressSchema, { type: { case: 'service', value: serviceMessage(service) } }), WRITE);

/** The bytes of an `istio.security.Authorization`. */
export const encodePolicy = (policy: Policy): Uint8Array<ArrayBuffer> =>
  toBinary(AuthorizationSchema, create(AuthorizationSchema, policyMessage(policy)), WRITE);

/** The version of an address resource: XXH64 of its bytes, hexadecimal, lower case, unpadded. Policies have none. */
export const addressVersion = (bytes: Uint8Array): string => xxhash64(bytes).toString(16);

/** A resource of a response, read by whichever means. */
export interface WireResource {
  readonly name: string;
  readonly version: string;
  readonly resource?: { readonly value: Uint8Array } | undefined;
}

/** What a response means, resource by resource. */
export interface DecodedResources<T> {
  readonly accepted: readonly { readonly name: string; readonly version: string; readonly value: T }[];
  readonly rejected: readonly { readonly name: string; readonly reason: string }[];
  /** `<name>: <sentence>` */
  readonly warnings: readonly string[];
}

/** Reads the resources of an address response; a bad one is rejected alone. */
export const decodeAddresses = (resources: Iterable<WireResource>): DecodedResources<Address> =>
  decodeEach(resources, (_name, bytes) => decodeAddress(bytes), addressName);

/** The name by which the value itself holds it, if it does: one string for both is enough. */
const addressName = (address: Address): string | undefined =>
  address.kind === 'workload' ? address.workload.uid : undefined;

/** Reads the resources of an authorization response; a bad one is rejected alone. */
export const decodeAuthorizations = (resources: Iterable<WireResource>): DecodedResources<Policy> =>
  decodeEach(resources, decodeAuthorization, (policy) => policy.key);

/** The text of a NACK: `name: reason` pairs. */
export const rejectionText = (rejected: DecodedResources<never>['rejected']): string =>
  rejected.map(({ name, reason }) => `${name}: ${reason}`).join('; ');

function decodeEach<T>(
  resources: Iterable<WireResource>,
  decode: (name: string, bytes: Uint8Array) => Result<Decoded<T>, string>,
  nameOf: (value: T) => string | undefined,
): DecodedResources<T> {
  const accepted: { name: string; version: string; value: T }[] = [];
  const rejected: { name: string; reason: string }[] = [];
  const warnings: string[] = [];
  for (const { name, version, resource } of resources) {
    const decoded = resource === undefined ? fail('resource is empty') : decode(name, resource.value);
    if (!decoded.ok) {
      rejected.push({ name, reason: decoded.error });
      continue;
    }
    const { value } = decoded.value;
    const own = nameOf(value);
    accepted.push({ name: own === name ? own : name, version, value });
    for (const warning of decoded.value.warnings) warnings.push(`${name}: ${warning}`);
  }
  return { accepted, rejected, warnings };
}

/** Protobuf decoding throws on bytes that are no message: those come from a peer, so that it is an ordinary outcome. */
function parse<T>(read: () => T): Result<T, string> {
  try {
    return ok(read());
  } catch (error) {
    return fail(`not a protobuf message of this type: ${error instanceof Error ? error.message : String(error)}`);
  }
}
