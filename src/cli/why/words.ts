// `ambit why` for people: the answer first, then the path sentence by sentence, then what happened lately.

import type { WhyAnswer } from '../../model/why.ts';
import { colours, table } from '../output.ts';
import { grouped } from './groups.ts';
import { type PastConnection, reasonOf } from './past.ts';
import type { Outcome, WhyReport } from './report.ts';
import type { RequestAnswer } from './request.ts';

const HEADLINES: Readonly<Record<Outcome, string>> = {
  allowed: colours.green('allowed'),
  refused: colours.red('refused'),
  undecided: colours.yellow('decided further on'),
  differs: colours.yellow('differs by endpoint'),
};
/** What istiod makes of PeerAuthentications. */
const MUTUAL_TLS_ONLY = /\/(?:istio_)?converted_/;
const MAX_NAMES = 5;
const MAX_RECENT = 3;

export function inWords(report: WhyReport): string {
  const groups = grouped(report.answers);
  const sections = groups.map(({ answer, others }) => {
    const head = groups.length > 1 ? [`${HEADLINES[answer.outcome]} at ${endName(answer)}`] : [];
    return [...head, ...answer.words.map((word) => `  ${word}`), ...alike(others)].join('\n');
  });
  const hint = hintFor(groups[0]?.answer);
  return [
    `${HEADLINES[report.outcome]}: ${report.question.source} to ${report.question.destination}`,
    '',
    sections.join('\n\n'),
    ...behind(report.requests),
    ...(hint === undefined ? [] : ['', `to allow it: ${hint}`]),
    ...(report.recent.length === 0 ? [] : ['', recently(report.recent)]),
    ...(report.difference === undefined ? [] : ['', report.difference]),
    ...(report.notes.length === 0 ? [] : ['', ...report.notes.map((note) => `note: ${note}`)]),
    '',
  ].join('\n');
}

/** What each waypoint makes of the request, and how the way on from there fares. */
function behind(requests: readonly RequestAnswer[]): string[] {
  return requests.flatMap(({ hop, outcome, words, onwards }) => {
    const end = outcome.kind === 'answered' ? [`  answered by ${hop} with ${outcome.status}`] : onwardWords(onwards);
    return ['', `  at the waypoint ${hop}:`, ...words.map((word) => `  ${word}`), ...end];
  });
}

const onwardWords = (onwards: readonly WhyAnswer[]): string[] =>
  grouped(onwards).flatMap(({ answer, others }) => [
    `  ${HEADLINES[answer.outcome]} from there to ${endName(answer)}`,
    ...(answer.outcome === 'allowed' ? [] : answer.words.slice(1).map((word) => `  ${word}`)),
    ...alike(others),
  ]);

const endName = ({ destination, dialled }: WhyAnswer): string =>
  destination === undefined ? dialled : `${destination.namespace}/${destination.name}`;

function alike(others: readonly WhyAnswer[]): string[] {
  if (others.length === 0) return [];
  const names = others.slice(0, MAX_NAMES).map(endName);
  const more = others.length > MAX_NAMES ? ` and ${others.length - MAX_NAMES} more` : '';
  return [`  the same holds for ${names.join(', ')}${more}`];
}

/** What would change the answer, where that is one step. */
function hintFor(answer: WhyAnswer | undefined): string | undefined {
  const { authorization, source } = answer ?? {};
  if (answer?.outcome !== 'refused' || authorization?.effect !== 'deny') return undefined;
  const [denied] = authorization.because;
  if (denied !== undefined) {
    if (source?.identity === undefined && MUTUAL_TLS_ONLY.test(denied))
      return 'put the source into the mesh (label its namespace istio.io/dataplane-mode=ambient): a PeerAuthentication of mode STRICT lets the destination take mutual TLS only';
    return `change the DENY policy ${denied}`;
  }
  const policies = authorization.policies.filter(({ action, dryRun }) => action === 'allow' && !dryRun);
  const names = policies.map(({ policy }) => policy).join(' or ');
  if (source?.identity === undefined)
    return `put the source into the mesh, so that it has an identity, and name it in a rule of ${names}`;
  return `add the principal ${source.identity.replace('spiffe://', '')} to a rule of ${names}`;
}

function recently(recent: readonly PastConnection[]): string {
  const shown = recent.slice(0, MAX_RECENT);
  const between = (past: PastConnection): string => `${past.source} -> ${past.destination}`;
  const several = new Set(shown.map(between)).size > 1;
  const rows = shown.map((past) => [
    past.time.replace(/\.\d+Z$/, 'Z'),
    past.outcome,
    past.sourceIdentity === undefined ? 'plain text' : 'mutual TLS',
    ...(several ? [between(past)] : []),
    past.outcome === 'completed'
      ? `${past.bytesToServer} bytes there, ${past.bytesToClient} back, in ${past.durationMs ?? '?'} ms`
      : `${reasonOf(past)}${past.toldBy.includes('destination') ? '' : ' (told by the source only)'}`,
  ]);
  return table(['LATELY', 'OUTCOME', 'OVER', ...(several ? ['BETWEEN'] : []), 'HOW'], rows, 2).trimEnd();
}
