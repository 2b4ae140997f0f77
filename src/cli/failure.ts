// Errors for people: what happened, why, how to fix it. Everything that a command refuses goes through here.

export class Failure extends Error {
  readonly what: string;
  readonly why: string;
  readonly fix: string;
  readonly exitCode: number;
  constructor(parts: { what: string; why: string; fix: string; exitCode?: number; cause?: unknown }) {
    super(`${parts.what}: ${parts.why}`, { cause: parts.cause });
    this.what = parts.what;
    this.why = parts.why;
    this.fix = parts.fix;
    this.exitCode = parts.exitCode ?? 1;
  }
}

/** Any error as three lines; what is not a Failure is a fault of Ambit's own, or of the API it talks to. */
export function describe(error: unknown): string {
  if (error instanceof Failure) return `what  ${error.what}\nwhy   ${error.why}\nfix   ${error.fix}\n`;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const message = error instanceof Error ? error.message : String(error);
  if (code === 'ECONNREFUSED' || code === 'ENOENT')
    return `what  the mesh does not answer\nwhy   ${message}\nfix   start it with \`ambit up\`, or name another with --name or --kubeconfig\n`;
  return `what  the command failed\nwhy   ${message}\nfix   see the logs (\`ambit status\` names their folder); AMBIT_DEBUG=1 shows where\n${process.env.AMBIT_DEBUG && error instanceof Error ? `${error.stack}\n` : ''}`;
}
