// What the supervisor (on the host) and the room say to each other over their IPC channel.

/** What the room is told when it starts, in the environment variable AMBIT_ROOM as JSON. */
export interface RoomSettings {
  readonly name: string;
  readonly stateDir: string;
  readonly nodes: number;
  /** `NAME=COMMAND`, as `--image` gives them. */
  readonly images: readonly string[];
  /** The host's port of the Kubernetes API; its listening socket is descriptor `apiFd`. */
  readonly apiPort: number;
  readonly apiFd: number;
  /** Where the repository or package is: bundles, examples. */
  readonly packageRoot: string;
}

export type FromRoom =
  /** The API answers; nodes are still being made. */
  | { readonly kind: 'api' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly what: string; readonly why: string; readonly fix: string }
  /** A pod dials the outside: the answer is `dialled` with the socket, or `refused`. */
  | { readonly kind: 'dial'; readonly id: number; readonly ip: string; readonly port: number }
  /** Wants a listener on 127.0.0.1 of the host: the answer is `listening` with the server, or `refused`. */
  | { readonly kind: 'listen'; readonly id: number; readonly ports: readonly number[] }
  /** A whole DNS message, base64. */
  | { readonly kind: 'resolve'; readonly id: number; readonly query: string };

export type ToRoom =
  | { readonly kind: 'stop' }
  | { readonly kind: 'dialled'; readonly id: number }
  | { readonly kind: 'listening'; readonly id: number; readonly port: number }
  | { readonly kind: 'refused'; readonly id: number; readonly code: string }
  | { readonly kind: 'resolved'; readonly id: number; readonly answer: string };
