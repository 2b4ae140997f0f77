// Messages on the screen: istioctl's line for people, its fields (and ours) for programs.

import pc from 'picocolors';
import { stringify } from 'yaml';
import type { DocumentProblem } from '../../analyze/documents.ts';
import { type Message, nameOf } from '../../analyze/message.ts';
import type { AnalyzeOutput } from './flags.ts';

/** One message for programs. `reference`, `field` and `fix` are left out where there is none. */
interface Printed {
  readonly code: string;
  readonly documentationUrl: string;
  readonly level: string;
  readonly message: string;
  readonly origin: string;
  readonly reference?: string;
  readonly field?: string;
  readonly fix: string;
}

const ISTIO_DOCUMENTS = 'https://istio.io/latest/docs/reference/config/analysis/';
const OWN_DOCUMENTS = 'docs/analyze.md#';

const documentOf = (code: string): string =>
  code.startsWith('IST') ? `${ISTIO_DOCUMENTS}${code.toLowerCase()}/` : `${OWN_DOCUMENTS}${code.toLowerCase()}`;

/** `policies.yaml:12` */
function referenceOf({ resource, line }: Message): string | undefined {
  return resource.positions === undefined ? undefined : `${resource.positions.file}:${line ?? 1}`;
}

export function printed(message: Message): Printed {
  const reference = referenceOf(message);
  return {
    code: message.code,
    documentationUrl: documentOf(message.code),
    level: message.level,
    message: message.text,
    origin: nameOf(message.resource),
    ...(reference === undefined ? {} : { reference }),
    ...(message.field === '' ? {} : { field: message.field }),
    fix: message.fix,
  };
}

/** `Error [IST0101] (VirtualService shop/web web.yaml:9) there is no host `db`; at spec.http[0]…; fix: …` */
export function lineOf(message: Message, colour: boolean): string {
  const { red, yellow, dim } = pc.createColors(colour);
  const paint = message.level === 'Error' ? red : message.level === 'Warning' ? yellow : dim;
  const reference = referenceOf(message);
  const place = `${nameOf(message.resource)}${reference === undefined ? '' : ` ${reference}`}`;
  const at = message.field === '' || message.text.startsWith(message.field) ? '' : `${message.field}: `;
  return `${paint(message.level)} [${message.code}] (${place}) ${at}${message.text}\n${dim(`  fix: ${message.fix}`)}\n`;
}

export function render(
  output: AnalyzeOutput,
  messages: readonly Message[],
  problems: readonly DocumentProblem[],
  colour: boolean,
): string {
  const all = [...messages.map(printed), ...problems.map(problemPrinted)];
  if (output === 'json') return `${JSON.stringify(all, null, 2)}\n`;
  if (output === 'yaml') return stringify(all, { lineWidth: 0 });
  const broken = problems.map(({ file, line, message }) => `Error [IST0106] (${file}:${line}) ${message}\n`);
  return [...broken, ...messages.map((message) => lineOf(message, colour))].join('');
}

/** A file that cannot be read has no object: the file is its origin. */
const problemPrinted = ({ file, line, message }: DocumentProblem): Printed => ({
  code: 'IST0106',
  documentationUrl: documentOf('IST0106'),
  level: 'Error',
  message,
  origin: file,
  reference: `${file}:${line}`,
  fix: 'correct the YAML or JSON',
});
