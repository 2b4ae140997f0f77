// BackendTLSPolicy: how to speak TLS to the endpoints of a service.

import { type Json, list, optionalText, record, text } from '../read.ts';
import { type Meta, parseMeta } from './meta.ts';
import { type FoundParent, parseFoundParents } from './route.ts';

export interface BackendTlsPolicy extends Meta {
  readonly targets: readonly {
    readonly group: string;
    readonly kind: string;
    readonly name: string;
    /** Name of a port; undefined: all. */
    readonly sectionName: string | undefined;
  }[];
  /** Server name, and the name that the certificate must have where `subjectAltNames` has none. */
  readonly hostname: string;
  readonly subjectAltNames: readonly { readonly type: string; readonly value: string }[];
  readonly authorities: readonly { readonly group: string; readonly kind: string; readonly name: string }[];
  /** Empty: none. */
  readonly wellKnownAuthorities: string;
  readonly found: readonly FoundParent[];
}

/** Told to leave a policy alone. */
export const IGNORE_ANNOTATION = 'istio.io/ignore-policy-attachment';

export function parseBackendTlsPolicy(object: Json): BackendTlsPolicy {
  const spec = record(object.spec);
  const validation = record(spec.validation);
  return {
    ...parseMeta(object, [IGNORE_ANNOTATION]),
    targets: list(spec.targetRefs).map((item) => {
      const ref = record(item);
      return {
        group: text(ref.group),
        kind: text(ref.kind),
        name: text(ref.name),
        sectionName: optionalText(ref.sectionName) || undefined,
      };
    }),
    hostname: text(validation.hostname).toLowerCase(),
    subjectAltNames: list(validation.subjectAltNames).map((item) => {
      const name = record(item);
      const type = text(name.type);
      return { type, value: text(type === 'URI' ? name.uri : name.hostname) };
    }),
    authorities: list(validation.caCertificateRefs).map((item) => {
      const { group, kind, name } = record(item);
      return { group: text(group), kind: text(kind), name: text(name) };
    }),
    wellKnownAuthorities: text(validation.wellKnownCACertificates),
    found: parseFoundParents(record(object.status).ancestors, 'ancestorRef'),
  };
}
