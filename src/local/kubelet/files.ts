// The small files that every pod has of its own: hosts, resolv.conf, host name. Pure text.

import { CLUSTER_DOMAIN, DNS_SERVICE_IP, FABRIC_GATEWAY } from '../network/addresses.ts';
import { isHostNetwork, type Pod, podName, podNamespace } from './types.ts';

const MAX_LABEL = 63;
const MAX_SEARCH = 32;

/** The first label of the pod's name in its own eyes. A host-network pod has the node's. */
export function hostnameOf(pod: Pod, nodeName: string): string {
  if (isHostNetwork(pod)) return nodeName;
  const name = pod.spec?.hostname || podName(pod);
  const short = name.slice(0, MAX_LABEL).replace(/[-.]+$/, '');
  if (pod.spec?.setHostnameAsFQDN === true && pod.spec.subdomain)
    return `${short}.${pod.spec.subdomain}.${podNamespace(pod)}.svc.${CLUSTER_DOMAIN}`;
  return short;
}

export function hostsFile(pod: Pod, hostname: string, podIp: string): string {
  const lines = [
    '# Kubernetes-managed hosts file.',
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::\tip6-localnet',
    'fe00::1\tip6-allnodes',
    'fe00::2\tip6-allrouters',
  ];
  const { subdomain } = pod.spec ?? {};
  const qualified = subdomain ? `${hostname}.${subdomain}.${podNamespace(pod)}.svc.${CLUSTER_DOMAIN}\t` : '';
  lines.push(`${podIp}\t${qualified}${hostname}`);
  const aliases = pod.spec?.hostAliases ?? [];
  if (aliases.length > 0) lines.push('', '# Entries added by HostAliases.');
  for (const { ip, hostnames } of aliases) lines.push(`${ip}\t${(hostnames ?? []).join('\t')}`);
  return `${lines.join('\n')}\n`;
}

export function resolvConf(pod: Pod): string {
  const policy = pod.spec?.dnsPolicy ?? 'ClusterFirst';
  const config = pod.spec?.dnsConfig ?? {};
  const clustered = policy === 'ClusterFirstWithHostNet' || (policy === 'ClusterFirst' && !isHostNetwork(pod));
  const servers = [...(config.nameservers ?? [])];
  const searches = [...(config.searches ?? [])];
  const options = new Map<string, string | undefined>();
  if (clustered) {
    servers.unshift(DNS_SERVICE_IP);
    searches.unshift(`${podNamespace(pod)}.svc.${CLUSTER_DOMAIN}`, `svc.${CLUSTER_DOMAIN}`, CLUSTER_DOMAIN);
    options.set('ndots', '5');
  } else if (policy !== 'None') servers.unshift(FABRIC_GATEWAY); // the node's own resolver: the outside as the host sees it
  for (const option of config.options ?? []) if (option.name) options.set(option.name, option.value);
  const words = [...options].map(([name, value]) => (value === undefined || value === '' ? name : `${name}:${value}`));
  const lines = [...new Set(servers)].slice(0, 3).map((server) => `nameserver ${server}`);
  const list = [...new Set(searches)].slice(0, MAX_SEARCH);
  if (list.length > 0) lines.unshift(`search ${list.join(' ')}`);
  if (words.length > 0) lines.push(`options ${words.join(' ')}`);
  return `${lines.join('\n')}\n`;
}
