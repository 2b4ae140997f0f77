// Endpoints for the engine: which one, and how its connection is secured.

export { Upstream, type UpstreamPick, type UpstreamSources } from './choice.ts';
export { cookieOf } from './hash-key.ts';
export { Names } from './names.ts';
export { systemResolver } from './resolver.ts';
export { type CertificateOf, secureUpstream } from './tls.ts';
