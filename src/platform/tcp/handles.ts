// Node's own stream handles below net.Socket, which no documented interface reaches. Taken once, and only when every part
// that is used is there: undefined otherwise, and callers then go by net.Socket (socket-stream.ts).
//
// Why: a net.Socket costs its streams' machinery, and fresh memory, for every chunk and every connection. Measured with two
// proxies in turns, median of four: CPU in user mode per request 24 -> 16 microseconds (all of it 56 -> 49), per gigabyte
// 4.7 -> 4.0 s; memory of a proxy after bulk 102 -> 87 MB.

/** `internalBinding('stream_wrap')`, `TCP`. Only what is used is declared. */
export interface TcpHandle {
  readonly fd: number;
  onread: (this: TcpHandle) => unknown;
  onconnection: (this: TcpHandle, status: number, client: TcpHandle | undefined) => void;
  open(fd: number): number;
  listen(backlog: number): number;
  connect(request: ConnectRequest, ip: string, port: number): number;
  connect6(request: ConnectRequest, ip: string, port: number): number;
  readStart(): number;
  readStop(): number;
  useUserBuffer(buffer: Uint8Array): void;
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number;
  close(closed?: () => void): void;
}

export interface ConnectRequest {
  oncomplete: (status: number) => void;
}

export interface WriteRequest {
  oncomplete: (this: WriteRequest, status: number) => void;
  /** Keeps the bytes alive until they have left. */
  bytes: Uint8Array | undefined;
}

export interface Handles {
  readonly Tcp: new (kind: number) => TcpHandle;
  readonly Connect: new () => ConnectRequest;
  readonly Write: new () => WriteRequest;
  readonly SOCKET: number;
  readonly SERVER: number;
  /** Bytes of the read at hand, or a negative errno; valid inside `onread`. */
  readonly readResult: () => number;
  /** Whether the `writeBuffer` that has just returned left something for later. */
  readonly wroteLater: () => boolean;
}

type Binding = (name: string) => Record<string, unknown>;

const METHODS = 'open listen connect connect6 readStart readStop useUserBuffer writeBuffer close';

function take(): Handles | undefined {
  const { binding } = process as unknown as { readonly binding?: Binding };
  if (typeof binding !== 'function') return undefined;
  try {
    const { TCP, TCPConnectWrap, constants } = binding('tcp_wrap');
    const { WriteWrap, streamBaseState, kReadBytesOrError, kLastWriteWasAsync } = binding('stream_wrap');
    const { SOCKET, SERVER } = (constants ?? {}) as Record<string, unknown>;
    if (typeof TCP !== 'function' || typeof TCPConnectWrap !== 'function' || typeof WriteWrap !== 'function')
      return undefined;
    if (!(streamBaseState instanceof Int32Array) || typeof SOCKET !== 'number' || typeof SERVER !== 'number')
      return undefined;
    if (typeof kReadBytesOrError !== 'number' || typeof kLastWriteWasAsync !== 'number') return undefined;
    const prototype = TCP.prototype as Record<string, unknown>;
    if (!METHODS.split(' ').every((name) => typeof prototype[name] === 'function')) return undefined;
    return {
      Tcp: TCP as Handles['Tcp'],
      Connect: TCPConnectWrap as Handles['Connect'],
      Write: WriteWrap as Handles['Write'],
      SOCKET,
      SERVER,
      readResult: () => streamBaseState[kReadBytesOrError] as number,
      wroteLater: () => streamBaseState[kLastWriteWasAsync] !== 0,
    };
  } catch {
    return undefined; // a Node that does not let anybody have them
  }
}

/** Undefined: this Node has no such handles. */
export const handles: Handles | undefined = take();
