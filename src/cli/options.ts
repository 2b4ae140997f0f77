// The flags that every command takes, named as istioctl names them.

import type { Command } from 'commander';

export interface GlobalOptions {
  kubeconfig?: string;
  name?: string;
  istioNamespace?: string;
  namespace?: string;
}

export function addGlobalOptions(program: Command): Command {
  return program
    .option('-c, --kubeconfig <file>', 'kubeconfig of the API to talk to')
    .option('--name <mesh>', 'local mesh to talk to (default: default)')
    .option('-i, --istioNamespace <namespace>', 'namespace of the control plane', 'istio-system')
    .option('-n, --namespace <namespace>', 'namespace of the objects meant');
}
