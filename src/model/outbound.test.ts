import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decideOutbound, type OutboundRoute, resolveOutbound } from './outbound.ts';
import { plainWorld } from './plain-world.ts';
import { cidr, ip, members, ports, service, workload } from './testing/builders.ts';
import type { GatewayAddress, Service, Workload } from './workload.ts';
import type { Dial, World } from './world.ts';

const shopper = workload('shopper', {
  addresses: [ip('10.0.0.1')],
  locality: { region: 'r1', zone: 'z1', subzone: '' },
});
const dial = (to: string, port = 80, from = '10.0.0.1'): Dial => ({
  client: { ip: ip(from), port: 40000 },
  destination: { ip: ip(to), port },
});
const ORDER = 'shop/order.shop.svc.cluster.local';
const WAYPOINT = 'shop/waypoint.shop.svc.cluster.local';
const vip = (address: string, network = '') => [{ network, ip: ip(address) }];
const order = service('order', { vips: vip('10.96.0.1'), ports: ports('80:8080') });
const orderPod = workload('order-1', {
  addresses: [ip('10.0.0.2')],
  serviceAccount: 'order',
  services: members({ [ORDER]: ['80:8080'] }),
});
const toName: GatewayAddress = {
  destination: { kind: 'hostname', namespace: 'shop', hostname: 'waypoint.shop.svc.cluster.local' },
  hbonePort: 15008,
};
const toAddress = (address: string, network = ''): GatewayAddress => ({
  destination: { kind: 'address', network, ip: ip(address) },
  hbonePort: 15008,
});
const waypoint = service('waypoint', { vips: vip('10.96.0.50'), ports: ports('15008:15008') });
const waypointPod = workload('waypoint-1', {
  addresses: [ip('10.0.0.50')],
  serviceAccount: 'waypoint',
  services: members({ [WAYPOINT]: ['15008:15008'] }),
});

/** The parts of a route that tables compare, as text. */
function brief(route: OutboundRoute): string {
  switch (route.kind) {
    case 'plain':
      return `plain ${route.hop.ip}:${route.hop.port} ${route.why}`;
    case 'hbone': {
      const expect = route.expect.map((id) => `${id.namespace}/${id.serviceAccount}`).join(',');
      return `hbone ${route.via} ${route.hop.ip}:${route.hop.port} for ${route.authority.ip}:${route.authority.port} as ${expect} service ${route.service?.name ?? '-'}`;
    }
    case 'resolve':
      return `resolve ${route.hostname}`;
    case 'reject':
      return `reject ${route.why}`;
  }
}

interface Case {
  readonly rule: string;
  readonly workloads?: readonly Workload[];
  readonly services?: readonly Service[];
  readonly dial: Dial;
  readonly source?: Workload;
  readonly random?: number;
  readonly want: string;
}

const cases: readonly Case[] = [
  {
    rule: 'an unknown address goes out in plain text',
    dial: dial('93.184.216.34', 443),
    want: 'plain 93.184.216.34:443 unknownDestination',
  },
  {
    rule: 'loopback and a port of the proxy would call itself',
    dial: dial('127.0.0.1', 15001),
    want: 'reject ownPort',
  },
  {
    rule: 'loopback and another port is as unknown as any address',
    dial: dial('127.0.0.1', 80),
    want: 'plain 127.0.0.1:80 unknownDestination',
  },
  {
    rule: 'a port of the proxy elsewhere is ordinary',
    dial: dial('10.9.9.9', 15008),
    want: 'plain 10.9.9.9:15008 unknownDestination',
  },
  {
    rule: 'a meshed pod by address: tunnel to it, port unchanged, its identity expected',
    workloads: [orderPod],
    dial: dial('10.0.0.2', 9000),
    want: 'hbone workload 10.0.0.2:15008 for 10.0.0.2:9000 as shop/order service -',
  },
  {
    rule: 'a pod outside the mesh by address: plain text',
    workloads: [{ ...orderPod, tunnelProtocol: 'none' }],
    dial: dial('10.0.0.2', 9000),
    want: 'plain 10.0.0.2:9000 noTunnel',
  },
  {
    rule: 'a service: tunnel to an endpoint, authority is its target port',
    workloads: [orderPod],
    services: [order],
    dial: dial('10.96.0.1'),
    want: 'hbone workload 10.0.0.2:15008 for 10.0.0.2:8080 as shop/order service order',
  },
  {
    rule: 'a service with an endpoint outside the mesh: plain text to the target port',
    workloads: [{ ...orderPod, tunnelProtocol: 'none' }],
    services: [order],
    dial: dial('10.96.0.1'),
    want: 'plain 10.0.0.2:8080 noTunnel',
  },
  {
    rule: "a service's subject names are expected beside the workload's",
    workloads: [orderPod],
    services: [{ ...order, subjectAltNames: [{ trustDomain: 'td', namespace: 'x', serviceAccount: 'y' }] }],
    dial: dial('10.96.0.1'),
    want: 'hbone workload 10.0.0.2:15008 for 10.0.0.2:8080 as shop/order,x/y service order',
  },
  {
    rule: 'a service without endpoints refuses',
    services: [order],
    dial: dial('10.96.0.1'),
    want: 'reject noHealthyUpstream',
  },
  {
    rule: 'a service port that does not exist refuses',
    workloads: [orderPod],
    services: [order],
    dial: dial('10.96.0.1', 81),
    want: 'reject noHealthyUpstream',
  },
  {
    rule: 'a service that passes through keeps the original destination',
    services: [
      {
        ...order,
        vips: [],
        cidrVips: [{ network: '', range: cidr('10.200.0.0/16') }],
        loadBalancing: { mode: 'passthrough', preferences: [], healthPolicy: 'allowAll' },
      },
    ],
    dial: dial('10.200.3.4', 443),
    want: 'plain 10.200.3.4:443 passthrough',
  },
  {
    rule: 'traffic to a service with a waypoint goes there, and keeps the virtual address',
    workloads: [orderPod, waypointPod],
    services: [{ ...order, waypoint: toName }, waypoint],
    dial: dial('10.96.0.1'),
    want: 'hbone waypoint 10.0.0.50:15008 for 10.96.0.1:80 as shop/waypoint service order',
  },
  {
    rule: 'a waypoint by address is its service first',
    workloads: [orderPod, waypointPod],
    services: [{ ...order, waypoint: toAddress('10.96.0.50') }, waypoint],
    dial: dial('10.96.0.1'),
    want: 'hbone waypoint 10.0.0.50:15008 for 10.96.0.1:80 as shop/waypoint service order',
  },
  {
    rule: 'a waypoint by address may be a workload',
    workloads: [orderPod, waypointPod],
    services: [{ ...order, waypoint: toAddress('10.0.0.50') }],
    dial: dial('10.96.0.1'),
    want: 'hbone waypoint 10.0.0.50:15008 for 10.96.0.1:80 as shop/waypoint service order',
  },
  {
    rule: 'a waypoint port that its service lacks needs an application tunnel: with one, the asked port is kept',
    workloads: [
      orderPod,
      { ...waypointPod, services: members({ [WAYPOINT]: [] }), applicationTunnel: { protocol: 'proxy', port: 15088 } },
    ],
    services: [
      { ...order, waypoint: toName },
      { ...waypoint, ports: ports('15021:15021') },
    ],
    dial: dial('10.96.0.1'),
    want: 'hbone waypoint 10.0.0.50:15008 for 10.96.0.1:80 as shop/waypoint service order',
  },
  {
    rule: 'a waypoint port that its service lacks, without application tunnel, refuses',
    workloads: [orderPod, waypointPod],
    services: [
      { ...order, waypoint: toName },
      { ...waypoint, ports: ports('15021:15021') },
    ],
    dial: dial('10.96.0.1'),
    want: 'reject unknownWaypoint',
  },
  {
    rule: 'an unknown waypoint of a service refuses: it is never bypassed',
    workloads: [orderPod],
    services: [{ ...order, waypoint: toName }],
    dial: dial('10.96.0.1'),
    want: 'reject unknownWaypoint',
  },
  {
    rule: 'a waypoint without endpoints refuses',
    workloads: [orderPod],
    services: [{ ...order, waypoint: toName }, waypoint],
    dial: dial('10.96.0.1'),
    want: 'reject unknownWaypoint',
  },
  {
    rule: 'weighted waypoints: the first share goes to the first',
    workloads: [waypointPod, workload('canary', { addresses: [ip('10.0.0.51')] })],
    services: [
      {
        ...order,
        weightedWaypoints: [
          { waypoint: toAddress('10.0.0.50'), weight: 90 },
          { waypoint: toAddress('10.0.0.51'), weight: 10 },
        ],
      },
    ],
    dial: dial('10.96.0.1'),
    random: 0.89,
    want: 'hbone waypoint 10.0.0.50:15008 for 10.96.0.1:80 as shop/waypoint service order',
  },
  {
    rule: 'weighted waypoints: the rest goes to the second',
    workloads: [waypointPod, workload('canary', { addresses: [ip('10.0.0.51')] })],
    services: [
      {
        ...order,
        weightedWaypoints: [
          { waypoint: toAddress('10.0.0.50'), weight: 90 },
          { waypoint: toAddress('10.0.0.51'), weight: 10 },
        ],
      },
    ],
    dial: dial('10.96.0.1'),
    random: 0.91,
    want: 'hbone waypoint 10.0.0.51:15008 for 10.96.0.1:80 as shop/canary service order',
  },
  {
    rule: 'weights that are all zero fall back to the single waypoint',
    workloads: [waypointPod],
    services: [
      {
        ...order,
        waypoint: toAddress('10.0.0.50'),
        weightedWaypoints: [{ waypoint: toAddress('10.9.9.9'), weight: 0 }],
      },
    ],
    dial: dial('10.96.0.1'),
    want: 'hbone waypoint 10.0.0.50:15008 for 10.96.0.1:80 as shop/waypoint service order',
  },
  {
    rule: 'traffic to a workload by address goes through its own waypoint',
    workloads: [{ ...orderPod, waypoint: toName }, waypointPod],
    services: [waypoint],
    dial: dial('10.0.0.2', 9000),
    want: 'hbone waypoint 10.0.0.50:15008 for 10.0.0.2:9000 as shop/waypoint service -',
  },
  {
    rule: "traffic to a service ignores a workload's waypoint",
    workloads: [{ ...orderPod, waypoint: toName }, waypointPod],
    services: [order, waypoint],
    dial: dial('10.96.0.1'),
    want: 'hbone workload 10.0.0.2:15008 for 10.0.0.2:8080 as shop/order service order',
  },
  {
    rule: 'an unknown waypoint of a workload refuses',
    workloads: [{ ...orderPod, waypoint: toName }],
    dial: dial('10.0.0.2'),
    want: 'reject unknownWaypoint',
  },
  {
    rule: 'the waypoint itself goes to its workload directly',
    workloads: [{ ...orderPod, waypoint: toName }, waypointPod],
    services: [waypoint],
    source: waypointPod,
    dial: dial('10.0.0.2', 9000, '10.0.0.50'),
    want: 'hbone workload 10.0.0.2:15008 for 10.0.0.2:9000 as shop/order service -',
  },
  {
    rule: "the waypoint's identity without its address is not the waypoint",
    workloads: [{ ...orderPod, waypoint: toName }, waypointPod],
    services: [waypoint],
    source: { ...shopper, serviceAccount: 'waypoint' },
    dial: dial('10.0.0.2', 9000),
    want: 'hbone waypoint 10.0.0.50:15008 for 10.0.0.2:9000 as shop/waypoint service -',
  },
  {
    rule: 'an address that a workload and a service share is not service-addressed, yet the service chooses the upstream',
    workloads: [orderPod, workload('twin', { addresses: [ip('10.96.0.1')] }), waypointPod],
    services: [{ ...order, waypoint: toName }, waypoint],
    dial: dial('10.96.0.1'),
    want: 'hbone workload 10.0.0.2:15008 for 10.0.0.2:8080 as shop/order service order',
  },
  {
    rule: 'an endpoint on another network refuses clearly',
    workloads: [{ ...orderPod, network: 'other', addresses: [], networkGateway: toAddress('1.2.3.4', 'other') }],
    services: [order],
    dial: dial('10.96.0.1'),
    want: 'reject otherNetwork',
  },
  {
    rule: 'a waypoint on another network refuses clearly',
    workloads: [orderPod, { ...waypointPod, network: 'other' }],
    services: [{ ...order, waypoint: toName }, waypoint],
    dial: dial('10.96.0.1'),
    want: 'reject otherNetwork',
  },
  {
    rule: 'a host-network workload is not found by address, but as an endpoint',
    workloads: [{ ...orderPod, hostNetwork: true, tunnelProtocol: 'none' }],
    services: [order],
    dial: dial('10.96.0.1'),
    want: 'plain 10.0.0.2:8080 noTunnel',
  },
  {
    rule: 'a service that is visible in its namespace only is unknown to others',
    workloads: [orderPod],
    services: [{ ...order, visibility: 'namespace' }],
    source: workload('shopper', { namespace: 'bank', addresses: [ip('10.0.0.1')] }),
    dial: dial('10.96.0.1'),
    want: 'plain 10.96.0.1:80 unknownDestination',
  },
  {
    rule: 'an endpoint with a name has to be resolved',
    workloads: [{ ...orderPod, addresses: [], hostname: 'db.example.com', tunnelProtocol: 'none' }],
    services: [order],
    dial: dial('10.96.0.1'),
    want: 'resolve db.example.com',
  },
  {
    rule: 'an endpoint whose addresses the families exclude has none',
    workloads: [orderPod],
    services: [{ ...order, ipFamilies: 'ipv6' }],
    dial: dial('10.96.0.1'),
    want: 'reject noAddress',
  },
];
for (const c of cases)
  test(c.rule, () => {
    const world = plainWorld('', c.workloads ?? [], c.services ?? [], []);
    assert.equal(brief(decideOutbound(world, c.source ?? shopper, c.dial, () => c.random ?? 0)), c.want);
  });

test('a resolved name completes the route: an answer of the dialled family first', () => {
  const pod = { ...orderPod, addresses: [], hostname: 'db.example.com' };
  const route = decideOutbound(plainWorld('', [pod], [order], []), shopper, dial('10.96.0.1'), () => 0);
  assert.ok(route.kind === 'resolve');
  const done = resolveOutbound(route, [ip('fd00::9'), ip('10.0.0.9')], () => 0.99);
  assert.equal(brief(done), 'hbone workload 10.0.0.9:15008 for 10.0.0.9:8080 as shop/order service order');
  assert.equal(brief(resolveOutbound(route, [ip('fd00::9')], () => 0)).slice(0, 29), 'hbone workload fd00::9:15008 ');
  assert.equal(brief(resolveOutbound(route, [], () => 0)), 'reject nameNotResolved');
});

test('step 4 looks in the network of the proxy, step 6 in that of the workload', () => {
  const asked: string[] = [];
  const base = plainWorld('own', [], [], []);
  const world: World = {
    ...base,
    workloadAt: (network) => void asked.push(`workload ${network}`) as undefined,
    servicesWithVip: (network) => {
      asked.push(`vip ${network}`);
      return [];
    },
  };
  decideOutbound(world, { ...shopper, network: 'mine' }, dial('10.0.0.2'), () => 0);
  assert.deepEqual(asked, ['workload own', 'vip own', 'vip mine', 'workload mine']);
});
