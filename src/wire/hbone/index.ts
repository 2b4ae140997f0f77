// HBONE: HTTP/2 CONNECT tunnels, sans-I/O.

export { openClientSession } from './client.ts';
export {
  ERROR_CODES,
  type ErrorCode,
  type ErrorSource,
  HboneError,
  type ResetCode,
  type ResetReading,
} from './errors.ts';
export { headerValue, headerValues } from './headers.ts';
export { CLIENT_LIMITS, type HboneLimits, SERVER_LIMITS } from './limits.ts';
export { openServerSession } from './server.ts';
export type {
  ClientSession,
  ConnectRequest,
  HboneSession,
  HeaderList,
  InboundTunnel,
  ServerSession,
  ServerSessionEvents,
  SessionEnvironment,
  SessionEvents,
  SessionOptions,
  SessionState,
  Transport,
  TunnelSink,
  TunnelStream,
} from './types.ts';
