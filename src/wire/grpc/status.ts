// How a gRPC call ended: status numbers, and how they are read from trailers or from a plain HTTP answer
// (gRPC over HTTP/2; "HTTP to gRPC status code mapping"). Pure.

export const STATUS_NAMES = [
  'OK',
  'Cancelled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
] as const;
export type StatusName = (typeof STATUS_NAMES)[number];

export interface GrpcStatus {
  readonly name: StatusName;
  readonly message: string;
}

/** Headers or trailers as HTTP/2 libraries give them. */
export type Metadata = Readonly<Record<string, string | readonly string[] | number | undefined>>;

const first = (value: Metadata[string]): string | undefined => {
  if (value === undefined) return undefined;
  const one = typeof value === 'object' ? value[0] : value;
  return one === undefined ? undefined : String(one);
};

const MAX_MESSAGE_CHARS = 1000;

/** `grpc-message` is percent-encoded UTF-8; what does not decode is shown as it came. At most 1000 characters. */
export function decodeStatusMessage(text: string): string {
  const cut = text.slice(0, 3 * MAX_MESSAGE_CHARS);
  let decoded = cut;
  try {
    decoded = decodeURIComponent(cut);
  } catch {
    // Kept as it came: a message for people must not be lost because of its encoding.
  }
  return decoded.slice(0, MAX_MESSAGE_CHARS);
}

function fromHttpStatus(status: number): StatusName {
  switch (status) {
    case 400:
      return 'Internal';
    case 401:
      return 'Unauthenticated';
    case 403:
      return 'PermissionDenied';
    case 404:
      return 'Unimplemented';
    case 429:
    case 502:
    case 503:
    case 504:
      return 'Unavailable';
    default:
      return 'Unknown';
  }
}

/** The status in trailers (or in headers that are the whole answer); undefined if there is none. */
export function statusOfTrailers(trailers: Metadata): GrpcStatus | undefined {
  const code = first(trailers['grpc-status']);
  if (code === undefined) return undefined;
  const name = /^[0-9]{1,2}$/.test(code) ? STATUS_NAMES[Number(code)] : undefined;
  const message = decodeStatusMessage(first(trailers['grpc-message']) ?? '');
  return name === undefined
    ? { name: 'Unknown', message: message || `grpc-status ${code.slice(0, 20)}` }
    : { name, message };
}

/** What is wrong with response headers, if anything: not a gRPC answer, or one that ended at once. */
export function statusOfHeaders(headers: Metadata): GrpcStatus | undefined {
  const http = Number(first(headers[':status']));
  const type = first(headers['content-type']) ?? '';
  const own = statusOfTrailers(headers);
  if (own !== undefined) return own;
  if (http !== 200) return { name: fromHttpStatus(http), message: `HTTP status ${http}` };
  if (!/^application\/grpc($|[+;])/.test(type))
    return { name: 'Unknown', message: `content type \`${type.slice(0, 100)}\` is not gRPC` };
  return undefined;
}
