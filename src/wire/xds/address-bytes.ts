// The bytes of `istio.workload.Address`, read into the generated types without the library's reflection. What the fields
// mean is decided elsewhere (workload.ts, service.ts); the compiler asks for each field of the schema, and a test with
// random messages of that schema holds this equal to the library.

import type {
  Address,
  GatewayAddress,
  LoadBalancing,
  Locality,
  NamespacedHostname,
  NetworkAddress,
  Port,
  PortList,
  Service,
  WeightedWaypoint,
  Workload,
} from '../gen/istio/workload/workload_pb.ts';
import { once, ProtoReader } from '../protobuf/reader.ts';

/** @throws ProtoError when the bytes are no such message */
export function readAddressBytes(bytes: Uint8Array): Address {
  const r = new ProtoReader(bytes);
  const message: Address = { $typeName: 'istio.workload.Address', type: { case: undefined } };
  while (r.next()) {
    if (r.field === 1) {
      if (message.type.case === 'workload') once(message.type, 'workload');
      message.type = { case: 'workload', value: r.message(readWorkload) };
    } else if (r.field === 2) {
      if (message.type.case === 'service') once(message.type, 'service');
      message.type = { case: 'service', value: r.message(readService) };
    } else r.skip();
  }
  return message;
}

function readWorkload(r: ProtoReader): Workload {
  const m: Workload = {
    $typeName: 'istio.workload.Workload',
    uid: '',
    name: '',
    namespace: '',
    addresses: [],
    hostname: '',
    network: '',
    tunnelProtocol: 0,
    trustDomain: '',
    serviceAccount: '',
    waypoint: undefined,
    networkGateway: undefined,
    node: '',
    canonicalName: '',
    canonicalRevision: '',
    workloadType: 0,
    workloadName: '',
    nativeTunnel: false,
    applicationTunnel: undefined,
    services: Object.create(null) as Workload['services'],
    authorizationPolicies: [],
    status: 0,
    clusterId: '',
    locality: undefined,
    networkMode: 0,
    capacity: undefined,
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
        m.addresses.push(r.bytes());
        break;
      case 4:
        m.network = r.string();
        break;
      case 5:
        m.tunnelProtocol = r.enumeration();
        break;
      case 6:
        m.trustDomain = r.string();
        break;
      case 7:
        m.serviceAccount = r.string();
        break;
      case 8:
        once(m.waypoint, 'waypoint');
        m.waypoint = r.message(readGateway);
        break;
      case 9:
        m.node = r.string();
        break;
      case 10:
        m.canonicalName = r.string();
        break;
      case 11:
        m.canonicalRevision = r.string();
        break;
      case 12:
        m.workloadType = r.enumeration();
        break;
      case 13:
        m.workloadName = r.string();
        break;
      case 14:
        m.nativeTunnel = r.bool();
        break;
      case 16:
        m.authorizationPolicies.push(r.string());
        break;
      case 17:
        m.status = r.enumeration();
        break;
      case 18:
        m.clusterId = r.string();
        break;
      case 19:
        once(m.networkGateway, 'network_gateway');
        m.networkGateway = r.message(readGateway);
        break;
      case 20:
        m.uid = r.string();
        break;
      case 21:
        m.hostname = r.string();
        break;
      case 22: {
        const [key, ports] = r.message(readServicesEntry);
        m.services[key] = ports;
        break;
      }
      case 23:
        once(m.applicationTunnel, 'application_tunnel');
        m.applicationTunnel = r.message(readApplicationTunnel);
        break;
      case 24:
        once(m.locality, 'locality');
        m.locality = r.message(readLocality);
        break;
      case 25:
        m.networkMode = r.enumeration();
        break;
      case 27:
        once(m.capacity, 'capacity');
        m.capacity = r.message(readWrappedUint32);
        break;
      default:
        r.skip();
    }
  return m;
}

function readService(r: ProtoReader): Service {
  const m: Service = {
    $typeName: 'istio.workload.Service',
    name: '',
    namespace: '',
    hostname: '',
    addresses: [],
    ports: [],
    subjectAltNames: [],
    waypoint: undefined,
    loadBalancing: undefined,
    ipFamilies: 0,
    canonical: false,
    ingressUseWaypoint: false,
    weightedWaypoints: [],
    visibility: 0,
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
        m.hostname = r.string();
        break;
      case 4:
        m.addresses.push(r.message(readNetworkAddress));
        break;
      case 5:
        m.ports.push(r.message(readPort));
        break;
      case 6:
        m.subjectAltNames.push(r.string());
        break;
      case 7:
        once(m.waypoint, 'waypoint');
        m.waypoint = r.message(readGateway);
        break;
      case 8:
        once(m.loadBalancing, 'load_balancing');
        m.loadBalancing = r.message(readLoadBalancing);
        break;
      case 9:
        m.ipFamilies = r.enumeration();
        break;
      case 11:
        m.canonical = r.bool();
        break;
      case 12:
        m.ingressUseWaypoint = r.bool();
        break;
      case 13:
        m.weightedWaypoints.push(r.message(readWeightedWaypoint));
        break;
      case 14:
        m.visibility = r.enumeration();
        break;
      default:
        r.skip();
    }
  return m;
}

function readGateway(r: ProtoReader): GatewayAddress {
  const m: GatewayAddress = {
    $typeName: 'istio.workload.GatewayAddress',
    destination: { case: undefined },
    hboneMtlsPort: 0,
  };
  while (r.next())
    switch (r.field) {
      case 1:
        if (m.destination.case === 'hostname') once(m.destination, 'hostname');
        m.destination = { case: 'hostname', value: r.message(readNamespacedHostname) };
        break;
      case 2:
        if (m.destination.case === 'address') once(m.destination, 'address');
        m.destination = { case: 'address', value: r.message(readNetworkAddress) };
        break;
      case 3:
        m.hboneMtlsPort = r.uint32();
        break;
      default:
        r.skip();
    }
  return m;
}

function readNamespacedHostname(r: ProtoReader): NamespacedHostname {
  const m: NamespacedHostname = { $typeName: 'istio.workload.NamespacedHostname', namespace: '', hostname: '' };
  while (r.next())
    if (r.field === 1) m.namespace = r.string();
    else if (r.field === 2) m.hostname = r.string();
    else r.skip();
  return m;
}

function readNetworkAddress(r: ProtoReader): NetworkAddress {
  const m: NetworkAddress = { $typeName: 'istio.workload.NetworkAddress', network: '', address: new Uint8Array() };
  while (r.next())
    if (r.field === 1) m.network = r.string();
    else if (r.field === 2) m.address = r.bytes();
    else if (r.field === 3) m.length = r.uint32();
    else r.skip();
  return m;
}

function readServicesEntry(r: ProtoReader): [string, PortList] {
  let key = '';
  let ports: PortList | undefined;
  while (r.next())
    if (r.field === 1) key = r.string();
    else if (r.field === 2) {
      once(ports, 'services value');
      ports = r.message(readPortList);
    } else r.skip();
  return [key, ports ?? { $typeName: 'istio.workload.PortList', ports: [] }];
}

function readPortList(r: ProtoReader): PortList {
  const m: PortList = { $typeName: 'istio.workload.PortList', ports: [] };
  while (r.next())
    if (r.field === 1) m.ports.push(r.message(readPort));
    else r.skip();
  return m;
}

function readPort(r: ProtoReader): Port {
  const m: Port = { $typeName: 'istio.workload.Port', servicePort: 0, targetPort: 0, appProtocol: 0 };
  while (r.next())
    if (r.field === 1) m.servicePort = r.uint32();
    else if (r.field === 2) m.targetPort = r.uint32();
    else if (r.field === 3) m.appProtocol = r.enumeration();
    else r.skip();
  return m;
}

function readApplicationTunnel(r: ProtoReader): NonNullable<Workload['applicationTunnel']> {
  const m: NonNullable<Workload['applicationTunnel']> = {
    $typeName: 'istio.workload.ApplicationTunnel',
    protocol: 0,
    port: 0,
  };
  while (r.next())
    if (r.field === 1) m.protocol = r.enumeration();
    else if (r.field === 2) m.port = r.uint32();
    else r.skip();
  return m;
}

function readLocality(r: ProtoReader): Locality {
  const m: Locality = { $typeName: 'istio.workload.Locality', region: '', zone: '', subzone: '' };
  while (r.next())
    if (r.field === 1) m.region = r.string();
    else if (r.field === 2) m.zone = r.string();
    else if (r.field === 3) m.subzone = r.string();
    else r.skip();
  return m;
}

function readWrappedUint32(r: ProtoReader): number {
  let value = 0;
  while (r.next())
    if (r.field === 1) value = r.uint32();
    else r.skip();
  return value;
}

function readLoadBalancing(r: ProtoReader): LoadBalancing {
  const m: LoadBalancing = {
    $typeName: 'istio.workload.LoadBalancing',
    routingPreference: [],
    mode: 0,
    healthPolicy: 0,
  };
  while (r.next())
    if (r.field === 1) r.enumerationList(m.routingPreference);
    else if (r.field === 2) m.mode = r.enumeration();
    else if (r.field === 3) m.healthPolicy = r.enumeration();
    else r.skip();
  return m;
}

function readWeightedWaypoint(r: ProtoReader): WeightedWaypoint {
  const m: WeightedWaypoint = { $typeName: 'istio.workload.WeightedWaypoint', destination: undefined, weight: 0 };
  while (r.next())
    if (r.field === 1) {
      once(m.destination, 'destination');
      m.destination = r.message(readGateway);
    } else if (r.field === 2) m.weight = r.uint32();
    else r.skip();
  return m;
}
