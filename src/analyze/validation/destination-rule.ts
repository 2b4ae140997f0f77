// What Istio refuses in a DestinationRule.

import type { Field } from '../field.ts';
import { checkExportTo } from './common.ts';
import type { Faults } from './faults.ts';
import { isHeaderName } from './values.ts';

/** What a policy may hold, `portLevelSettings` apart. */
const POLICY_PARTS = [
  'loadBalancer',
  'connectionPool',
  'outlierDetection',
  'tls',
  'tunnel',
  'proxyProtocol',
  'retryBudget',
] as const;

export function validateDestinationRule(object: Field, faults: Faults): void {
  const spec = object.at('spec');
  if (faults.needs(spec.at('host'))) faults.host(spec.at('host'), { wildcard: true });
  checkPolicy(spec.at('trafficPolicy'), faults);
  const subsets = spec.at('subsets').items();
  for (const subset of subsets) {
    if (faults.needs(subset.at('name'))) faults.label(subset.at('name'));
    faults.labels(subset.at('labels'));
    checkPolicy(subset.at('trafficPolicy'), faults);
    if (Object.keys(subset.at('labels').record).length === 0)
      faults.warn(subset, 'a subset without labels selects every endpoint of the host');
  }
  faults.unique(
    subsets.map((subset) => subset.at('name')),
    (name) => name.text,
  );
  faults.labels(spec.at('workloadSelector', 'matchLabels'));
  checkExportTo(spec, faults);
}

function checkPolicy(policy: Field, faults: Faults): void {
  if (!policy.isSet) return;
  const ports = policy.at('portLevelSettings').items();
  if (policy.among(...POLICY_PARTS).length === 0 && ports.length === 0)
    faults.required(policy, 'a traffic policy must set something');
  checkParts(policy, faults);
  for (const port of ports) {
    faults.port(port.at('port', 'number'));
    checkParts(port, faults);
  }
}

function checkParts(policy: Field, faults: Faults): void {
  checkLoadBalancer(policy.at('loadBalancer'), policy.at('outlierDetection'), faults);
  checkConnectionPool(policy.at('connectionPool'), faults);
  checkOutlierDetection(policy.at('outlierDetection'), faults);
  checkClientTls(policy.at('tls'), faults);
  const tunnel = policy.at('tunnel');
  if (tunnel.isSet) {
    const protocol = tunnel.at('protocol').text.toUpperCase();
    if (!['', 'CONNECT', 'POST'].includes(protocol)) faults.invalid(tunnel.at('protocol'), 'must be CONNECT or POST');
    if (faults.needs(tunnel.at('targetHost'))) faults.host(tunnel.at('targetHost'), { wildcard: false });
    faults.port(tunnel.at('targetPort'));
  }
  faults.percent(policy.at('retryBudget', 'percent'));
}

function checkLoadBalancer(balancer: Field, outlier: Field, faults: Faults): void {
  if (!balancer.isSet) return;
  faults.onlyOne(balancer, 'simple', 'consistentHash');
  const hash = balancer.at('consistentHash');
  if (hash.isSet) {
    const keys = ['httpHeaderName', 'httpCookie', 'useSourceIp', 'httpQueryParameterName'] as const;
    faults.onlyOne(hash, ...keys);
    if (hash.among(...keys).length === 0)
      faults.warn(hash, `one of ${keys.join(', ')} should be set: there is nothing to hash by`);
    faults.onlyOne(hash, 'ringHash', 'maglev');
    const header = hash.at('httpHeaderName');
    if (header.isSet && !isHeaderName(header.text)) faults.invalid(header, 'is no header name');
    const cookie = hash.at('httpCookie');
    if (cookie.isSet) faults.needs(cookie.at('name'));
    faults.duration(cookie.at('ttl'), 0);
  }
  faults.duration(balancer.at('warmup', 'duration'));
  faults.percent(balancer.at('warmup', 'minimumPercent'));
  const aggression = balancer.at('warmup', 'aggression');
  if (aggression.isSet && (aggression.number ?? 0) < 1) faults.invalid(aggression, 'must be at least 1');
  if (balancer.at('warmup').isSet) {
    faults.needs(balancer.at('warmup', 'duration'));
    const simple = balancer.at('simple').text;
    if (hash.isSet || !['', 'UNSPECIFIED', 'ROUND_ROBIN', 'LEAST_REQUEST', 'LEAST_CONN'].includes(simple))
      faults.warn(balancer.at('warmup'), 'has an effect only with ROUND_ROBIN and LEAST_REQUEST');
  }
  checkLocality(balancer.at('localityLbSetting'), outlier, faults);
}

function checkLocality(setting: Field, outlier: Field, faults: Faults): void {
  if (!setting.isSet) return;
  const lists = ['distribute', 'failover', 'failoverPriority'] as const;
  const used = lists.filter((name) => setting.at(name).items().length > 0);
  if (used.includes('distribute') && used.length > 1)
    faults.invalid(setting, `only one of distribute and failover may be set, found ${used.join(' and ')}`);
  for (const entry of setting.at('distribute').items()) {
    checkLocalityName(entry.at('from'), entry.at('from').text, faults);
    let sum = 0;
    for (const [to, weight] of entry.at('to').entries()) {
      checkLocalityName(weight, to, faults);
      const share = weight.number ?? 0;
      if (share <= 0 || share > 100) faults.invalid(weight, 'must be from 1 to 100');
      sum += share;
    }
    if (sum !== 100) faults.invalid(entry.at('to'), `the weights must add up to 100, found ${sum}`);
  }
  for (const entry of setting.at('failover').items()) {
    const [from, to] = [entry.at('from'), entry.at('to')];
    faults.needs(from);
    faults.needs(to);
    if (from.text !== '' && from.text === to.text) faults.invalid(to, 'a region cannot fail over to itself');
    for (const region of [from, to])
      if (region.text.includes('/') || region.text.includes('*'))
        faults.invalid(region, 'failover names regions, without zones and wildcards');
  }
  const fails = used.includes('failover') || used.includes('failoverPriority');
  if (fails && !outlier.isSet)
    faults.warn(setting, 'failover works only with outlierDetection, which tells unhealthy endpoints');
}

/** `region/zone/subzone`; `*` only as the last part. */
function checkLocalityName(at: Field, locality: string, faults: Faults): void {
  const parts = locality.split('/');
  const star = parts.indexOf('*');
  if (locality === '' || parts.length > 3 || parts.includes('') || (star >= 0 && star < parts.length - 1))
    faults.invalid(at, `\`${locality}\` is no locality: write region, region/zone or region/zone/subzone`);
}

function checkConnectionPool(pool: Field, faults: Faults): void {
  if (!pool.isSet) return;
  const [tcp, http] = [pool.at('tcp'), pool.at('http')];
  if (!tcp.isSet && !http.isSet) faults.required(pool, 'tcp or http must be set');
  faults.notNegative(tcp.at('maxConnections'));
  for (const name of ['connectTimeout', 'maxConnectionDuration']) faults.duration(tcp.at(name));
  faults.duration(tcp.at('idleTimeout'), 0);
  for (const name of ['time', 'interval']) faults.duration(tcp.at('tcpKeepalive', name), 1000);
  for (const name of [
    'http1MaxPendingRequests',
    'http2MaxRequests',
    'maxRequestsPerConnection',
    'maxRetries',
    'maxConcurrentStreams',
  ])
    faults.notNegative(http.at(name));
  faults.duration(http.at('idleTimeout'), 0);
  if (http.at('useClientProtocol').value === true && http.at('h2UpgradePolicy').text === 'UPGRADE')
    faults.invalid(http.at('useClientProtocol'), "cannot keep the client's protocol while h2UpgradePolicy is UPGRADE");
}

function checkOutlierDetection(outlier: Field, faults: Faults): void {
  if (!outlier.isSet) return;
  for (const name of ['interval', 'baseEjectionTime']) faults.duration(outlier.at(name));
  for (const name of ['maxEjectionPercent', 'minHealthPercent']) faults.percent(outlier.at(name));
  for (const name of ['consecutiveErrors', 'consecutive5xxErrors', 'consecutiveGatewayErrors'])
    faults.notNegative(outlier.at(name));
  if (outlier.at('consecutiveErrors').isSet)
    faults.warn(outlier.at('consecutiveErrors'), 'is deprecated: use consecutiveGatewayErrors or consecutive5xxErrors');
  const local = outlier.at('consecutiveLocalOriginFailures');
  if ((local.number ?? 0) > 0 && outlier.at('splitExternalLocalOriginErrors').value !== true)
    faults.invalid(local, 'has an effect only with splitExternalLocalOriginErrors: true');
}

function checkClientTls(tls: Field, faults: Faults): void {
  if (!tls.isSet) return;
  const files = tls.among('clientCertificate', 'privateKey', 'caCertificates', 'caCrl');
  const mode = tls.at('mode').text;
  if (mode === 'ISTIO_MUTUAL') {
    if (files.length > 0 || tls.at('credentialName').isSet)
      faults.forbidden(tls, 'with ISTIO_MUTUAL the mesh provides the certificates: take out files and credentialName');
    return;
  }
  if (tls.at('credentialName').text !== '' && files.length > 0)
    faults.forbidden(tls, `credentialName already names the certificates: take out ${files.join(', ')}`);
  if (mode === 'MUTUAL' && tls.at('credentialName').text === '') {
    faults.needs(tls.at('clientCertificate'), 'mode MUTUAL needs a certificate, or credentialName');
    faults.needs(tls.at('privateKey'), 'mode MUTUAL needs a key, or credentialName');
  }
  if (tls.at('insecureSkipVerify').value === true && tls.among('caCertificates', 'subjectAltNames').length > 0)
    faults.invalid(
      tls.at('insecureSkipVerify'),
      'nothing is verified, so caCertificates and subjectAltNames have no use',
    );
}
