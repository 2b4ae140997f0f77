// OpenMetrics text (version 1.0.0) as the Rust library prometheus-client writes it, which dashboards of Istio read:
// HELP ends in a full stop, counters carry `_total` only on samples, a family with labels but without samples is left out.
// Pure. Runs per scrape, not per connection.

export type MetricType = 'counter' | 'gauge' | 'histogram';

export interface FamilyText {
  readonly name: string;
  readonly help: string;
  readonly type: MetricType;
  readonly unit?: string;
}

export const CONTENT_TYPE_OPENMETRICS = 'application/openmetrics-text;charset=utf-8;version=1.0.0';
export const CONTENT_TYPE_TEXT = 'text/plain; charset=utf-8';
export const END_OF_METRICS = '# EOF\n';

const escapeLabel = (value: string): string =>
  /[\\"\n]/.test(value) ? value.replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`)) : value;

/** `a="1",b="2"`, without braces. */
export function labelText(names: readonly string[], values: readonly string[]): string {
  let text = '';
  for (let i = 0; i < names.length; i++) text += `${i === 0 ? '' : ','}${names[i]}="${escapeLabel(values[i] ?? '')}"`;
  return text;
}

export const labelPairs = (labels: readonly (readonly [name: string, value: string])[]): string =>
  labels.map(([name, value]) => `${name}="${escapeLabel(value)}"`).join(',');

export function familyHeader(family: FamilyText): string {
  const { name, help, type, unit } = family;
  return `# HELP ${name} ${help}.\n# TYPE ${name} ${type}\n${unit === undefined ? '' : `# UNIT ${name} ${unit}\n`}`;
}

const braces = (labels: string): string => (labels === '' ? '' : `{${labels}}`);

/** One sample line; `labels` as `labelText` gives them. */
export const sample = (name: string, labels: string, value: number): string =>
  `${name}${braces(labels)} ${Number.isInteger(value) ? value : formatFloat(value)}\n`;

/** OpenMetrics wants the bounds of a histogram as floats: `1.0`, not `1`. */
const formatFloat = (value: number): string => (Number.isInteger(value) ? `${value}.0` : String(value));

/** `counts[i]`: observations in bucket i alone; one more entry than `bounds`, the last has no upper bound. */
export function histogramSamples(
  name: string,
  labels: string,
  bounds: readonly number[],
  counts: readonly number[],
  sum: number,
): string {
  const total = counts.reduce((a, b) => a + b, 0);
  let text = `${name}_sum${braces(labels)} ${formatFloat(sum)}\n${name}_count${braces(labels)} ${total}\n`;
  let below = 0;
  const comma = labels === '' ? '' : ',';
  for (let i = 0; i < counts.length; i++) {
    below += counts[i] as number;
    const bound = bounds[i];
    text += `${name}_bucket{${labels}${comma}le="${bound === undefined ? '+Inf' : formatFloat(bound)}"} ${below}\n`;
  }
  return text;
}

/** Whether the client asked for OpenMetrics (Prometheus lists it among others with weights; one weight of 0 refuses). */
export function acceptsOpenMetrics(accept: string | undefined): boolean {
  for (const part of (accept ?? '').slice(0, 1000).split(',')) {
    const [type, ...parameters] = part.split(';').map((p) => p.trim().toLowerCase());
    if (type === 'application/openmetrics-text') return !parameters.some((p) => /^q=0(\.0*)?$/.test(p));
  }
  return false;
}
