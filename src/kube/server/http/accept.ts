// Which form of an answer the client prefers: the object, a Table of columns, or only metadata.

export type AnswerForm = 'object' | 'table' | 'metadata';

/** Reads `Accept`, left to right, for the first form that is served here; protobuf alone is answered in JSON. */
export function answerForm(accept: string | undefined): AnswerForm {
  for (const range of (accept ?? '').split(',')) {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
    if (type !== 'application/json' && type !== '*/*' && type !== '') continue;
    const given = new Map(parameters.map((parameter) => parameter.split('=', 2) as [string, string]));
    if (given.has('g') && (given.get('g') !== 'meta.k8s.io' || !['v1', 'v1beta1'].includes(given.get('v') ?? '')))
      continue;
    switch (given.get('as')) {
      case undefined:
        return 'object';
      case 'table':
        return 'table';
      case 'partialobjectmetadata':
      case 'partialobjectmetadatalist':
        return 'metadata';
      default:
    }
  }
  return 'object';
}

/** `application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList`: kubectl's one-request discovery. */
export function wantsAggregatedDiscovery(accept: string | undefined): boolean {
  return (accept ?? '').split(',').some((range) => {
    const text = range.replaceAll(' ', '').toLowerCase();
    return (
      text.includes('as=apigroupdiscoverylist') && text.includes('g=apidiscovery.k8s.io') && /;v=v2(;|$)/.test(text)
    );
  });
}
