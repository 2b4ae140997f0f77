// What the api process is told by its environment, read once.

import { isAbsolute, join } from 'node:path';

export interface ApiConfig {
  /** Folder of `state.db` and `kubeconfig`. */
  readonly stateDir: string;
  readonly meshName: string;
  /** Inherited listening socket: the host's 127.0.0.1. Undefined: none. */
  readonly listenFd: number | undefined;
  /** Port of that socket, for the kubeconfig. */
  readonly hostPort: number | undefined;
  /** Further address to listen on, inside the room. */
  readonly listen: { readonly host: string; readonly port: number } | undefined;
  /** Where the room's own kubeconfig goes. */
  readonly roomKubeconfig: string | undefined;
  /** Folder of the kubelets' sockets, `<node>.sock`. */
  readonly kubeletDir: string;
  readonly database: string;
}

/** @returns the configuration, or every problem of the environment */
export function readConfig(env: NodeJS.ProcessEnv): { config: ApiConfig } | { problems: string[] } {
  const problems: string[] = [];
  const number = (name: string, otherwise?: number): number | undefined => {
    const text = env[name];
    if (text === undefined || text === '') return otherwise;
    const value = Number(text);
    if (Number.isInteger(value) && value >= 0 && value <= 65_535) return value;
    problems.push(`${name}=\`${text}\` is not a number from 0 to 65535`);
    return otherwise;
  };
  const stateDir = env.AMBIT_STATE_DIR ?? '';
  if (!isAbsolute(stateDir)) problems.push('AMBIT_STATE_DIR must be the absolute path of the state folder');
  const listenFd = env.AMBIT_API_FD === 'none' ? undefined : number('AMBIT_API_FD', 3);
  const hostPort = number('AMBIT_API_PORT');
  const listen = listenAddress(env.AMBIT_API_LISTEN, problems);
  if (problems.length > 0) return { problems };
  return {
    config: {
      stateDir,
      meshName: env.AMBIT_MESH_NAME || 'default',
      listenFd,
      hostPort,
      listen,
      roomKubeconfig: env.AMBIT_ROOM_KUBECONFIG || undefined,
      kubeletDir: env.AMBIT_KUBELET_DIR || '/run/ambit/kubelet',
      database: join(stateDir, 'state.db'),
    },
  };
}

function listenAddress(text: string | undefined, problems: string[]): ApiConfig['listen'] {
  if (text === undefined || text === '') return undefined;
  const match = /^\[?([^\]]+?)\]?:(\d{1,5})$/.exec(text);
  if (match && Number(match[2]) <= 65_535) return { host: match[1]!, port: Number(match[2]) };
  problems.push(`AMBIT_API_LISTEN=\`${text}\` is not an address like 172.31.0.1:6443`);
  return undefined;
}
