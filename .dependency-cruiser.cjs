// The one direction of imports. A folder may import from the folders above it in this list, and from itself;
// services (same line) meet in model and wire, never in each other.
const order = [['model'], ['wire'], ['derive', 'migrate'], ['platform'], ['telemetry'], ['kube'], ['control', 'ztunnel', 'proxy', 'node'], ['local'], ['cli'], ['dashboard']];
const forbidden = [];
order.forEach((line, depth) => {
  for (const folder of line) {
    const allowed = [...order.slice(0, depth).flat(), folder].join('|');
    forbidden.push({
      name: `${folder}-imports-only-from-above`,
      severity: 'error',
      from: { path: `^src/${folder}/` },
      to: { path: '^src/', pathNot: `^src/(${allowed})/` },
    });
  }
});
for (const pure of ['model', 'wire', 'derive', 'migrate']) {
  forbidden.push({
    name: `${pure}-is-pure`,
    comment: 'no effects at the heart: no node: modules (node:buffer is data), tests excepted',
    severity: 'error',
    from: { path: `^src/${pure}/`, pathNot: '\\.test\\.ts$' },
    to: { dependencyTypes: ['core'], pathNot: '^(node:)?buffer$' },
  });
}
forbidden.push({ name: 'no-circular', severity: 'error', from: {}, to: { circular: true } });
module.exports = {
  forbidden,
  options: { doNotFollow: { path: 'node_modules' }, tsConfig: { fileName: 'tsconfig.json' }, tsPreCompilationDeps: true, enhancedResolveOptions: { extensions: ['.ts', '.js'] } },
};
