// The bytes of `istio.security.Authorization`, read into the generated types; see address-bytes.ts.

import type {
  Address,
  Authorization,
  Clause,
  Match,
  Rule,
  ServiceAccountMatch,
  StringMatch,
} from '../gen/istio/security/authorization_pb.ts';
import { once, ProtoReader } from '../protobuf/reader.ts';

/** @throws ProtoError when the bytes are no such message */
export function readAuthorizationBytes(bytes: Uint8Array): Authorization {
  const r = new ProtoReader(bytes);
  const m: Authorization = {
    $typeName: 'istio.security.Authorization',
    name: '',
    namespace: '',
    scope: 0,
    action: 0,
    rules: [],
    dryRun: false,
  };
  while (r.next())
    switch (r.field) {
      case 1:
        m.name = r.string();
        break;
      case 2:
        m.namespace = r.string();
        break;
      case 3:
        m.scope = r.enumeration();
        break;
      case 4:
        m.action = r.enumeration();
        break;
      case 5:
        m.rules.push(r.message(readRule));
        break;
      case 6:
        m.dryRun = r.bool();
        break;
      default:
        r.skip();
    }
  return m;
}

function readRule(r: ProtoReader): Rule {
  const m: Rule = { $typeName: 'istio.security.Rule', clauses: [] };
  while (r.next())
    if (r.field === 1) m.clauses.push(r.message(readClause));
    else r.skip();
  return m;
}

function readClause(r: ProtoReader): Clause {
  const m: Clause = { $typeName: 'istio.security.Clause', matches: [] };
  while (r.next())
    if (r.field === 2) m.matches.push(r.message(readMatch));
    else r.skip();
  return m;
}

function readMatch(r: ProtoReader): Match {
  const m: Match = {
    $typeName: 'istio.security.Match',
    namespaces: [],
    notNamespaces: [],
    principals: [],
    notPrincipals: [],
    sourceIps: [],
    notSourceIps: [],
    destinationIps: [],
    notDestinationIps: [],
    destinationPorts: [],
    notDestinationPorts: [],
    serviceAccounts: [],
    notServiceAccounts: [],
  };
  while (r.next())
    switch (r.field) {
      case 1:
        m.namespaces.push(r.message(readStringMatch));
        break;
      case 2:
        m.notNamespaces.push(r.message(readStringMatch));
        break;
      case 3:
        m.principals.push(r.message(readStringMatch));
        break;
      case 4:
        m.notPrincipals.push(r.message(readStringMatch));
        break;
      case 5:
        m.sourceIps.push(r.message(readRange));
        break;
      case 6:
        m.notSourceIps.push(r.message(readRange));
        break;
      case 7:
        m.destinationIps.push(r.message(readRange));
        break;
      case 8:
        m.notDestinationIps.push(r.message(readRange));
        break;
      case 9:
        r.uint32List(m.destinationPorts);
        break;
      case 10:
        r.uint32List(m.notDestinationPorts);
        break;
      case 11:
        m.serviceAccounts.push(r.message(readServiceAccount));
        break;
      case 12:
        m.notServiceAccounts.push(r.message(readServiceAccount));
        break;
      default:
        r.skip();
    }
  return m;
}

function readStringMatch(r: ProtoReader): StringMatch {
  const m: StringMatch = { $typeName: 'istio.security.StringMatch', matchType: { case: undefined } };
  while (r.next())
    switch (r.field) {
      case 1:
        m.matchType = { case: 'exact', value: r.string() };
        break;
      case 2:
        m.matchType = { case: 'prefix', value: r.string() };
        break;
      case 3:
        m.matchType = { case: 'suffix', value: r.string() };
        break;
      case 4:
        if (m.matchType.case === 'presence') once(m.matchType, 'presence');
        r.message(readEmpty);
        m.matchType = { case: 'presence', value: { $typeName: 'google.protobuf.Empty' } };
        break;
      default:
        r.skip();
    }
  return m;
}

function readEmpty(r: ProtoReader): void {
  while (r.next()) r.skip();
}

function readRange(r: ProtoReader): Address {
  const m: Address = { $typeName: 'istio.security.Address', address: new Uint8Array(), length: 0 };
  while (r.next())
    if (r.field === 1) m.address = r.bytes();
    else if (r.field === 2) m.length = r.uint32();
    else r.skip();
  return m;
}

function readServiceAccount(r: ProtoReader): ServiceAccountMatch {
  const m: ServiceAccountMatch = { $typeName: 'istio.security.ServiceAccountMatch', namespace: '', serviceAccount: '' };
  while (r.next())
    if (r.field === 1) m.namespace = r.string();
    else if (r.field === 2) m.serviceAccount = r.string();
    else r.skip();
  return m;
}
