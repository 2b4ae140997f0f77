// How namespaces and pods join the mesh: by sidecar, by ambient, by both, not at all.

import type { Analyzer } from '../analyzer.ts';
import { KIND } from '../kinds.ts';
import type { Resource } from '../resource.ts';

const SYSTEM = new Set(['kube-system', 'kube-public', 'kube-node-lease', 'local-path-storage', 'istio-system']);
const INJECTION = 'istio-injection';
const REVISION = 'istio.io/rev';
const MODE = 'istio.io/dataplane-mode';

export const injectionAnalyzer: Analyzer = {
  name: 'injection.Analyzer',
  description: 'namespaces in no mesh or in two ways, and pods without the sidecar that was asked for',
  codes: ['IST0102', 'IST0103', 'IST0123'],
  analyze(world, report) {
    for (const namespace of world.all(KIND.namespace)) {
      if (SYSTEM.has(namespace.name) || namespace.name === world.settings.rootNamespace) continue;
      checkNamespace(namespace, report);
    }
    for (const { resource, sidecar, labels, annotations, podSpec } of world.workloads) {
      if (resource.type !== KIND.pod || podSpec.at('hostNetwork').value === true) continue;
      const inNamespace = world.namespaceLabels(resource.namespace);
      if (inNamespace[INJECTION] !== 'enabled' || inNamespace[MODE] === 'ambient') continue;
      const refuses =
        labels['sidecar.istio.io/inject'] === 'false' || annotations['sidecar.istio.io/inject'] === 'false';
      // A pod of a file gets its sidecar when it is made.
      const has = ['containers', 'initContainers'].some((list) =>
        podSpec
          .at(list)
          .items()
          .some((container) => container.at('name').text === 'istio-proxy'),
      );
      if (!refuses && sidecar && !has && resource.positions === undefined)
        report('IST0103', resource, resource.root, resource.key);
    }
  },
};

function checkNamespace(namespace: Resource, report: Parameters<Analyzer['analyze']>[1]): void {
  const { labels } = namespace;
  const [injection, revision, mode] = [labels[INJECTION], labels[REVISION], labels[MODE]];
  const at = namespace.root.at('metadata', 'labels');
  const present = [
    injection === undefined ? undefined : `${INJECTION}=${injection}`,
    revision === undefined || !(injection === undefined || injection === 'enabled')
      ? undefined
      : `${REVISION}=${revision}`,
    mode === undefined || mode === 'none' || !(injection === undefined || injection === 'enabled')
      ? undefined
      : `${MODE}=${mode}`,
  ].filter((text) => text !== undefined);
  if (present.length > 1) report('IST0123', namespace, at, present.join(', '));
  if (injection === undefined && revision === undefined && mode === undefined)
    report('IST0102', namespace, namespace.root, namespace.name, namespace.name);
}

export const imageAutoAnalyzer: Analyzer = {
  name: 'injection.ImageAutoAnalyzer',
  description: 'image `auto` where nothing injects a proxy',
  codes: ['IST0146', 'IST0147'],
  analyze(world, report) {
    for (const { resource, podSpec, labels, annotations } of world.workloads) {
      const auto = podSpec
        .at('containers')
        .items()
        .find((container) => container.at('image').text === 'auto');
      if (auto === undefined) continue;
      const inNamespace = world.namespaceLabels(resource.namespace);
      const asked =
        labels['sidecar.istio.io/inject'] === 'true' ||
        annotations['sidecar.istio.io/inject'] === 'true' ||
        labels[REVISION] !== undefined ||
        inNamespace[INJECTION] === 'enabled' ||
        inNamespace[REVISION] !== undefined;
      const image = auto.at('image');
      if (resource.type === KIND.pod) {
        // It runs, and its image is still the placeholder: nothing replaced it.
        if (!asked || resource.positions === undefined) report('IST0147', resource, image, 'Pod', resource.key);
      } else if (!asked) report('IST0146', resource, image, resource.kind, resource.key);
    }
  },
};
