// Mesh TLS over any byte stream: `createMeshServer` for listeners, `secureMeshClient` for dialling.

export { createMeshClientContext, type MeshClientContext, secureMeshClient } from './client.ts';
export { createMeshServer, type MeshServer, type MeshServerOptions } from './server.ts';
export {
  type MeshTlsCode,
  MeshTlsError,
  type MeshTlsOptions,
  type PeerIdentity,
  type SecuredSocket,
  type TlsResponseFlag,
  type WorkloadCredential,
} from './types.ts';
