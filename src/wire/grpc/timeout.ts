// `grpc-timeout` (gRPC over HTTP/2: "Timeout"): how long a caller will wait.

const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** At most eight digits and a unit. @returns milliseconds; undefined when there is none or it cannot be read */
export function grpcTimeoutMs(header: string | undefined): number | undefined {
  const match = /^([0-9]{1,8})([HMSmun])$/.exec(header ?? '');
  return match === null ? undefined : Math.ceil(Number(match[1]) * (UNIT_MS[match[2] as string] as number));
}
